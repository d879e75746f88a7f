"""Writing down what a destination answered, while the next instance is on its way.

A thread writes whatever answers there are in one transaction, and after a moment the next ones. So
only the answers of that moment are lost with a killed worker, and those instances come twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

# The next instance waits until these are in the ledger: as many small ones as go out while a
# disk takes a transaction.
MOST_UNWRITTEN = 256
PAUSE_S = 0.05  # a transaction for each instance would cost more than sending it


class Recorder[T]:
    """Writes answers in their order; `write` is called with some of them, one call at a time."""

    def __init__(self, write: Callable[[Sequence[T]], None]) -> None:
        self._write = write
        self._unwritten: list[T] = []
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Everything is written, whatever else has failed; raises what kept it from that."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    def note(self, answer: T) -> None:
        """Have an answer written; raises what kept the ones before from being written."""
        with self._changed:
            self._unwritten.append(answer)
            if len(self._unwritten) == 1 or self._is_pressing():
                self._changed.notify_all()  # not for each: the other thread would take its time
            self._changed.wait_for(
                lambda: self._error is not None or len(self._unwritten) < MOST_UNWRITTEN
            )
            if self._error is not None:
                raise self._error

    def flush(self) -> None:
        """Wait until all is written."""
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or not self._unwritten)
            if self._error is not None:
                raise self._error

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._unwritten or self._closed)
                now = list(self._unwritten)
            if not now:
                return
            try:
                self._write(now)
            except BaseException as error:  # noqa: BLE001  raised where the answers come from
                with self._changed:
                    self._error = error
                    self._changed.notify_all()
                return
            with self._changed:
                del self._unwritten[: len(now)]
                self._changed.notify_all()
                self._changed.wait_for(self._is_pressing, PAUSE_S)

    def _is_pressing(self) -> bool:
        return self._closed or len(self._unwritten) >= MOST_UNWRITTEN * 3 // 4
