"""What the audit trail holds, read past the gateway."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.acceptance.conftest import RunningGateway


def records(gateway: RunningGateway, *, after: int) -> list[dict[str, Any]]:
    """The audit records since the one with the id `after`, in their order."""
    with psycopg.connect(
        f"host={gateway.data}/run/postgresql user=argonath dbname=argonath", row_factory=dict_row
    ) as owner:
        return owner.execute(
            "SELECT * FROM audit WHERE audit_id > %s ORDER BY audit_id", [after]
        ).fetchall()


def decisions(gateway: RunningGateway, *, after: int) -> list[dict[str, Any]]:
    """The records without the reads, which are written in batches, some time after their answer."""
    return [row for row in records(gateway, after=after) if not row["action"].startswith("read-")]


def last_record(gateway: RunningGateway) -> int:
    """The id of the newest record."""
    found = records(gateway, after=0)
    return int(found[-1]["audit_id"]) if found else 0
