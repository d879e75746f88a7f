"""One append-only, hash-chained record per decision.

The application's role can neither change nor delete a record; each seals its predecessor, so that
`verify` finds any change, removal or reorder. No patient's name goes in here: studies are named by
UID.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gateway.db import Session

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


def append(session: Session, record: Record) -> None:
    """Write a record in the session's own transaction: it stands if and only if the deed does."""
    session.execute(
        "SELECT append_audit(%s, %s, %s, %s, %s, %s, %s)",
        [
            record.tenant_id,
            record.actor,
            record.action,
            record.resource,
            record.verdict,
            record.origin,
            record.detail,
        ],
    )


def verify(session: Session) -> int | None:
    """The id of the first record that does not fit its predecessor, or None. System session."""
    row = session.execute(
        """
        SELECT min(audit_id) AS broken FROM (
            SELECT a.*, row_number() OVER chain AS expected_id,
                   coalesce(lag(hash) OVER chain, ''::bytea) AS previous
            FROM audit a WINDOW chain AS (ORDER BY audit_id)
        ) AS links
        WHERE audit_id <> expected_id
           OR hash <> audit_hash(previous, audit_id, at, tenant_id, actor, action, resource,
                                 verdict, origin, detail)
        """
    ).fetchone()
    return row["broken"] if row else None
