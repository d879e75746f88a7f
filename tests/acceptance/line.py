"""A TCP line to a server, which breaks or stands still in the middle of an object."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Line:
    """Listens on `port` and leads to `upstream` of this machine."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._budget: int | None = None  # bytes, of both directions, that still pass
        self._moves = threading.Event()
        self._moves.set()
        self._lock = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._server.getsockname()[1]
        self.cuts = 0
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def cut_after(self, count: int) -> None:
        """Whichever connection carries the byte after so many is cut, once."""
        with self._lock:
            self._budget = count

    def hold_after(self, count: int) -> None:
        """When so many bytes have passed, nothing does any more until the line is mended."""
        with self._lock:
            self._budget = count
            self._moves.clear()

    def mend(self) -> None:
        """Everything passes again."""
        with self._lock:
            self._budget = None
            self._moves.set()

    def close(self) -> None:
        """No more connections; those that are held up end."""
        self.mend()
        self._server.shutdown(socket.SHUT_RDWR)  # else accept() goes on, on whatever is opened next
        self._acceptor.join()
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):  # it is closed
            while True:
                caller, _ = self._server.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._upstream), timeout=5)
                except OSError:
                    caller.close()
                    continue
                ends = (caller, server)
                for end in ends:
                    end.settimeout(None)
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for pair in (ends, ends[::-1]):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(16384):
                if (passed := self._pass(len(data))) < len(data):
                    sink.sendall(data[:passed])
                    break
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _pass(self, count: int) -> int:
        with self._lock:
            if self._budget is None:
                return count
            if self._budget >= count:
                self._budget -= count
                return count
            if self._moves.is_set():
                passed, self._budget = self._budget, None
                self.cuts += 1
                return passed
        self._moves.wait()
        return count
