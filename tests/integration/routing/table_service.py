"""Where crosswalk tables come from over HTTP."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.integration.http_service import Answer, Asked, HttpService


class TableService:
    """A CSV file and a look-up service; `asked` are the keys that it was asked for."""

    def __init__(self) -> None:
        self.file = "old,new\nA1,N1\n"
        self.rows: dict[str, Any] = {"A1": {"new": "N1", "ward": 7}}
        self.asked: list[str] = []
        self.tokens: set[str | None] = set()
        self.status = 200
        service = HttpService(self._answer)
        self.url, self.close = service.url, service.close

    def _answer(self, asked: Asked) -> Answer:
        self.tokens.add(asked.headers.get("Authorization"))
        parts = urlsplit(asked.path)
        if self.status != 200:
            return Answer(self.status)
        if parts.path == "/file.csv":
            return Answer(200, self.file.encode())
        key = parse_qs(parts.query)["key"][0]
        self.asked.append(key)
        found = self.rows.get(key)
        return Answer(404) if found is None else Answer(200, json.dumps(found).encode())
