"""One append-only, hash-chained record per decision.

The application's role can neither change nor delete a record; each seals its predecessor, so that
`verify` finds any change, removal or reorder. No patient's name goes in here: studies are named by
UID.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from psycopg.types.json import Jsonb

from gateway import correlation
from gateway.audit.chain import Seal, verify
from gateway.db import Session

__all__ = ["Record", "Seal", "Verdict", "append", "append_all", "verify"]

type Verdict = Literal["allowed", "denied", "failed"]


@dataclass(frozen=True)
class Record:
    """Who did what to which resource, from where, and whether it was allowed."""

    actor: str
    action: str
    resource: str
    verdict: Verdict
    tenant_id: str | None = None
    origin: str = ""
    detail: str = ""
    correlation: str = ""  # empty: that of what the thread does


def append(session: Session, record: Record) -> None:
    """Write a record with the session's own transaction: it stands if and only if the deed does.

    It takes its place in the chain when that commits, and can be read from then on.
    """
    append_all(session, [record])


def append_all(session: Session, records: Sequence[Record]) -> None:
    """Write several records, one after the other in the chain."""
    if records:
        present = correlation.current() or correlation.new()
        rows = [_row(record, record.correlation or present) for record in records]
        session.execute("SELECT append_audit(%s)", [Jsonb(rows)])


def _row(record: Record, identifier: str) -> dict[str, str | None]:
    """The record without what PostgreSQL cannot hold, else one such would stop a whole batch."""
    row = asdict(record) | {"correlation": identifier}
    return {
        name: value.encode(errors="replace").decode().replace("\0", "")
        if isinstance(value, str)
        else value
        for name, value in row.items()
    }
