"""Leave to send: the ledger is asked for some instances at a time, and again after a moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import NamedTuple, Self

LEAST, MOST = 16, 256  # at a time: as many as go out in a moment
GOOD_FOR_S = 1.0


class _Leave(NamedTuple):
    """What was granted of the instances from `begin` up to `end`, and until when."""

    uids: set[str]
    begin: int
    end: int
    until: float


class Grants:
    """For one thread, to be closed; `ask` says which of the next instances may go out."""

    def __init__(self, order: Sequence[str], ask: Callable[[Sequence[str]], set[str]]) -> None:
        self._order, self._ask = order, ask
        self._place = {uid: number for number, uid in enumerate(order)}
        self._leave = _Leave(set(), 0, 0, 0.0)
        self._asking = ThreadPoolExecutor(1)
        self._coming: Future[_Leave] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._asking.shutdown()

    def may(self, uid: str) -> bool:
        """Whether an instance may go out now. Half-way through what is granted asks for more."""
        place = self._place[uid]
        if self._coming is not None and place >= self._leave.end:
            coming, self._coming = self._coming, None
            self._leave = coming.result()
        if uid not in self._leave.uids or time.monotonic() > self._leave.until:
            self._coming = None
            self._leave = self._asked(place, 2 * (place - self._leave.begin))
        _, begin, end, _ = self._leave
        if self._coming is None and 2 * place >= begin + end and end < len(self._order):
            self._coming = self._asking.submit(self._asked, end, 2 * (end - begin))
        return uid in self._leave.uids

    def _asked(self, begin: int, count: int) -> _Leave:
        until = time.monotonic() + GOOD_FOR_S
        end = min(begin + min(MOST, max(LEAST, count)), len(self._order))
        return _Leave(self._ask(self._order[begin:end]), begin, end, until)
