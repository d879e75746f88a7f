"""Refusals of who shows nothing that is valid: recorded too, but nobody fills the audit with them.

A record is for ever, and one is written at a time: whoever is not known must not be able to make
any number of them.
"""

from __future__ import annotations

from dataclasses import replace

from gateway import audit
from gateway.audit import Record
from gateway.db import Database

ACTOR = "unknown"
A_MINUTE = 60  # records of one address
LAST = "; what else comes from this address within a minute is not recorded"


def note(database: Database, refusal: Record) -> None:
    """Append the refusal, unless the last minute holds `A_MINUTE` of its address."""
    with database.system_session("audit a stranger") as session:
        row = session.execute(
            "SELECT count(*) AS number FROM audit WHERE actor = %s AND origin = %s "
            "AND verdict = 'denied' AND audit_id >= (SELECT audit_id_at(now() - interval '1 min'))",
            [ACTOR, refusal.origin],
        ).fetchone()
        number = row["number"] if row else 0
        if number < A_MINUTE:
            detail = refusal.detail + (LAST if number == A_MINUTE - 1 else "")
            audit.append(session, replace(refusal, actor=ACTOR, detail=detail))
