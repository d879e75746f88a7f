"""Where crosswalk tables come from over HTTP."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


class TableService:
    """A CSV file and a look-up service; `asked` are the keys that it was asked for."""

    def __init__(self) -> None:
        self.file = "old,new\nA1,N1\n"
        self.rows: dict[str, Any] = {"A1": {"new": "N1", "ward": 7}}
        self.asked: list[str] = []
        self.tokens: set[str | None] = set()
        self.status = 200
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service.tokens.add(self.headers.get("Authorization"))
                status, body = service.answer(self.path)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, path: str) -> tuple[int, bytes]:
        parts = urlsplit(path)
        if self.status != 200:
            return self.status, b""
        if parts.path == "/file.csv":
            return 200, self.file.encode()
        key = parse_qs(parts.query)["key"][0]
        self.asked.append(key)
        found = self.rows.get(key)
        return (404, b"") if found is None else (200, json.dumps(found).encode())

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
