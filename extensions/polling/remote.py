"""What the kinds of source that are asked have in common: search, and retrieve what is missing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from extensions.polling.errors import SourceUnavailable
from extensions.polling.filters import Answer, agree
from extensions.polling.news import Seen
from extensions.polling.storing import Holdings

MOST_STUDIES = 10_000
_UID = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True)
class Found:
    """What a source lists; `is_whole` false: it has more than `MOST_STUDIES` of it."""

    studies: Sequence[Seen]
    is_whole: bool = True


@dataclass(frozen=True)
class Retrieved:
    """What became of one study: its instances at the source, and how many came just now."""

    instances: int
    brought: int


class Remote(Protocol):
    """A source over an open connection."""

    def search(self, wanted: Mapping[str, str]) -> Found:
        """The studies that match; raises `SourceUnavailable`."""

    def retrieve(self, study: str, here: Holdings, begin: Callable[[], None]) -> Retrieved:
        """Bring what is missing of a study into the archive.

        Calls `begin` before the first instance is asked for, if any is missing. Raises
        `SourceUnavailable`, or an error of this study alone.
        """

    def close(self) -> None:
        """End the connection."""


def seen(wanted: Mapping[str, str], lists: Sequence[tuple[Sequence[Answer], bool]]) -> Found:
    """The listed studies that do not contradict what was wanted; of each list whether it is all."""
    studies = {
        checked(first(answer, "StudyInstanceUID")): number(answer, "NumberOfStudyRelatedInstances")
        for answers, _ in lists
        for answer in answers
        if agree(wanted, answer)
    }
    is_whole = all(is_all for _, is_all in lists)
    return Found([Seen(uid, instances) for uid, instances in studies.items()], is_whole)


def first(answer: Answer, keyword: str) -> str:
    """The first value of an attribute, or nothing."""
    values = answer.get(keyword) or ("",)
    return str(values[0])


def number(answer: Answer, keyword: str) -> int | None:
    """A count, if the source tells it."""
    text = first(answer, keyword).strip()
    return int(text) if text.isascii() and text.isdigit() else None


def checked(uid: str) -> str:
    """A UID that may stand in an address; raises `SourceUnavailable` for anything else."""
    if not _UID.fullmatch(uid):
        raise SourceUnavailable("It lists something without a valid UID.")
    return uid
