"""What the portal says of a study's delivery, again and again, beside what the receiver has."""

from __future__ import annotations

import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self, override

import httpx

from tests.acceptance.conftest import RunningGateway

_ROW = re.compile(
    r'class="badge \w+">(\w+)</span> <span class="nowrap">.*?(\d+) / (\d+)</span>', re.DOTALL
)


@dataclass(frozen=True)
class Sight:
    """The delivery as the study's page shows it, and how many files the receiver had just after."""

    state: str
    delivered: int
    total: int
    page: str
    on_disk: int


class Repeated(ABC):
    """Looks again and again, in a thread, until the block ends."""

    def __init__(self, pause_s: float) -> None:
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    @abstractmethod
    def look(self) -> None:
        """Look once."""

    def _run(self) -> None:
        while not self._stop.wait(self._pause_s):
            self.look()


class Watch(Repeated):
    """Looks at the study's page until the block ends."""

    def __init__(self, gateway: RunningGateway, study: str, on_disk: Callable[[], int]) -> None:
        super().__init__(0.1)
        self._gateway, self._study, self._on_disk = gateway, study, on_disk
        self.seen: list[Sight] = []

    @property
    def now(self) -> Sight | None:
        """What was seen last."""
        return self.seen[-1] if self.seen else None

    @override
    def look(self) -> None:
        try:
            page = self._gateway.get(f"/studies/{self._study}", self._gateway.north_key).text
        except httpx.TransportError:
            return
        if row := _ROW.search(page):
            state, delivered, total = row.groups()
            sight = Sight(state, int(delivered), int(total), page, self._on_disk())
            self.seen.append(sight)
