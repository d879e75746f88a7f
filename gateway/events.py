"""What happened, told at least once to every extension that listens.

An event is published in the transaction that makes it true (the outbox); the worker host turns it
into one job per listening extension.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from psycopg.types.json import Jsonb

from gateway.db import Session


@dataclass(frozen=True)
class StudyStable:
    """Nothing was received for a study for a while.

    `arrival` grows by one each time a study that was stable got more instances.
    """

    study_instance_uid: str
    arrival: int


@dataclass(frozen=True)
class StudyArriving:
    """A study has received something in the last second; told to tenants that watch arrivals."""

    study_instance_uid: str


@dataclass(frozen=True)
class StudyDeleted:
    """A study is no longer in the archive."""

    study_instance_uid: str


@dataclass(frozen=True)
class ResultNoted:
    """An extension has found out something about a study; see `gateway.results`."""

    study_instance_uid: str
    name: str


type Event = StudyStable | StudyArriving | StudyDeleted | ResultNoted

KINDS: dict[str, type[StudyStable | StudyArriving | StudyDeleted | ResultNoted]] = {
    "study_stable": StudyStable,
    "study_arriving": StudyArriving,
    "study_deleted": StudyDeleted,
    "result_noted": ResultNoted,
}
_NAMES = {kind: name for name, kind in KINDS.items()}


def publish(session: Session, tenant_id: str, event: Event) -> None:
    """Tell `event` when, and only when, the session's transaction commits."""
    session.execute(
        "INSERT INTO outbox (tenant_id, kind, payload) VALUES (%s, %s, %s)",
        [tenant_id, _NAMES[type(event)], Jsonb(asdict(event))],
    )
    session.execute("SELECT pg_notify('argonath_outbox', '')")


def from_row(kind: str, payload: dict[str, Any]) -> Event:
    """The event of an outbox row."""
    return KINDS[kind](**payload)
