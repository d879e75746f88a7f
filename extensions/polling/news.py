"""What of a source's studies is worth a look: what is new, has changed, or failed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

RETRY_S = 60.0
LONGEST_RETRY_S = 24 * 3600.0
MOST_TRIES = 10


@dataclass(frozen=True)
class Seen:
    """A study as its source lists it; `instances` None: it does not say how many there are."""

    study_instance_uid: str
    instances: int | None = None


@dataclass(frozen=True)
class Known:
    """What we remember of a study at that source."""

    instances: int
    failures: int = 0
    next_try_at: datetime | None = None


def worth_a_look(seen: Iterable[Seen], known: Mapping[str, Known], now: datetime) -> list[Seen]:
    """The studies to compare with the archive, in the order in which the source lists them."""
    return [study for study in seen if _is_news(study, known.get(study.study_instance_uid), now)]


def _is_news(seen: Seen, known: Known | None, now: datetime) -> bool:
    if known is None:
        return True
    if seen.instances is not None and seen.instances != known.instances:
        return True
    if known.failures:
        return known.next_try_at is not None and known.next_try_at <= now
    return seen.instances is None  # who tells no number has to be asked what there is


def retry_after_s(failures: int) -> float | None:
    """The pause after so many failures of one study, doubling; None: not until it changes."""
    if failures >= MOST_TRIES:
        return None
    return min(LONGEST_RETRY_S, RETRY_S * 2.0 ** (max(failures, 1) - 1))
