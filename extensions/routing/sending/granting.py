"""Leave to send: the ledger is asked for some instances at a time, and again after a moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

LEAST, MOST = 16, 256  # at a time: as many as go out in a moment
GOOD_FOR_S = 1.0


class Grants:
    """`ask` says which of the next instances may go out."""

    def __init__(self, order: Sequence[str], ask: Callable[[Sequence[str]], set[str]]) -> None:
        self._order, self._ask = order, ask
        self._place = {uid: number for number, uid in enumerate(order)}
        self._granted: set[str] = set()
        self._asked_at = 0
        self._until = 0.0

    def after(self, uid: str) -> None:
        """Ask for the one after it now, where that costs nobody any time."""
        place = self._place[uid] + 1
        if place < len(self._order):
            self.may(self._order[place])

    def may(self, uid: str) -> bool:
        """Whether an instance may go out now."""
        if uid not in self._granted or time.monotonic() > self._until:
            place = self._place[uid]
            count = min(MOST, max(LEAST, 2 * (place - self._asked_at)))
            self._asked_at, self._until = place, time.monotonic() + GOOD_FOR_S
            self._granted = self._ask(self._order[place : place + count])
        return uid in self._granted
