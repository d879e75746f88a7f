"""Whether the chain of records still is what was written.

The chain alone cannot show that its newest records were removed, or that somebody who may write
to the table made it anew from some record on. For that the node keeps, outside the database, the
seal of a late record (`Anchor`).
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gateway.db import Session


@dataclass(frozen=True)
class Seal:
    """The number and the hash of a record, which stand for all up to it; 0 and empty: none yet."""

    audit_id: int = 0
    hash: str = ""

    def __str__(self) -> str:
        return f"{self.audit_id}:{self.hash}"


def verify(session: Session) -> int | None:
    """The id of the first record that does not fit its predecessor, or None. System session."""
    row = session.execute(
        """
        SELECT min(audit_id) AS broken FROM (
            SELECT audit_id, row_number() OVER chain AS expected_id, hash,
                   audit_hash(coalesce(lag(hash) OVER chain, ''), a) AS expected
            FROM audit a WINDOW chain AS (ORDER BY audit_id)
        ) AS links
        WHERE audit_id <> expected_id OR hash <> expected
        """
    ).fetchone()
    return row["broken"] if row else None


def last_seal(session: Session) -> Seal:
    """The seal of the newest record. System session."""
    row = session.execute(
        "SELECT audit_id, encode(hash, 'hex') AS hash FROM audit ORDER BY audit_id DESC LIMIT 1"
    ).fetchone()
    return Seal(**row) if row else Seal()


def stands(session: Session, seal: Seal) -> bool:
    """Whether the record of the seal is still there as it was. System session."""
    if seal == Seal():
        return True
    row = session.execute(
        "SELECT encode(hash, 'hex') = %s AS same FROM audit WHERE audit_id = %s",
        [seal.hash, seal.audit_id],
    ).fetchone()
    return row is not None and bool(row["same"])


@dataclass(frozen=True)
class Anchor:
    """A file outside the database that holds the seal of a late record."""

    file: Path

    def read(self) -> Seal | None:
        """The seal; None when there is no such file, or it is no anchor."""
        try:
            return Seal(**json.loads(self.file.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def move(self, session: Session) -> bool:
        """Take the newest record's seal; False, and it stays, when its record is gone or changed.

        That the file cannot be written stops nothing.
        """
        old = self.read()
        if old is not None and not stands(session, old):
            return False
        seal = last_seal(session)
        if seal != old:
            fresh = self.file.with_suffix(".new")
            with suppress(OSError):
                self.file.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
                fresh.write_text(json.dumps({"audit_id": seal.audit_id, "hash": seal.hash}))
                fresh.replace(self.file)
        return True
