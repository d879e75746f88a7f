"""What is wrong with a rule: every place at once, each with its cure. No I/O."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.errors import InvalidInput

MOST = 50  # of them at once; more help nobody, and a hostile file must not cost minutes


@dataclass(frozen=True)
class Complaint:
    """A place such as ``rules[2].when.all[0].field``, what is wrong there, and the cure."""

    place: str
    told: str

    def __str__(self) -> str:
        return f"{self.place}: {self.told}" if self.place else self.told


class WrongRule(InvalidInput):
    """A rule is wrong.

    Correct each place that is named.
    """

    def __init__(self, complaints: Iterable[Complaint]) -> None:
        self.complaints = tuple(complaints)
        super().__init__("\n".join(map(str, self.complaints)))


def wrong(place: str, told: str) -> WrongRule:
    """One thing is wrong."""
    return WrongRule([Complaint(place, told)])


class Complaints:
    """Collects what is wrong; raises `WrongRule` by itself when there is too much of it."""

    def __init__(self) -> None:
        self._all: list[Complaint] = []

    def add(self, place: str, told: str) -> None:
        """One more."""
        self._all.append(Complaint(place, told))
        if len(self._all) >= MOST:
            self._all.append(Complaint("", f"There may be more; these are the first {MOST}."))
            self.end()

    def adopt(self, place: str, error: WrongRule) -> None:
        """What was wrong with a part, which lies at `place`."""
        for complaint in error.complaints:
            self.add(join(place, complaint.place), complaint.told)

    def end(self) -> None:
        """Raise `WrongRule` if anything was wrong."""
        if self._all:
            raise WrongRule(self._all)


def join(*places: str | int) -> str:
    """A path of names and numbers, e.g. ``when.all[1].field``."""
    path = ""
    for place in places:
        if isinstance(place, int):
            path += f"[{place}]"
        elif place:
            path += f".{place}" if path and not place.startswith("[") else place
    return path


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """The cure for a name that nobody knows; empty where none is near."""
    by_folded = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(given[:64].casefold(), by_folded, n=1, cutoff=0.7)
    return f"did you mean {by_folded[near[0]]}?" if near else ""
