"""Whose turn a source is: one process runs it, until its lease ends. System sessions."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from extensions.polling.sources import COLUMNS, Source, read
from gateway.db import Session

LEASE_S = 20.0
RENEW_S = 4.0

_ON = """
    enabled AND NOT EXISTS (SELECT FROM extension_setting e
                            WHERE e.tenant_id = polling_source.tenant_id
                            AND e.extension = 'polling' AND NOT e.enabled)
"""
_DUE = f"next_run_at <= now() AND (lease_until IS NULL OR lease_until < now()) AND {_ON}"


@dataclass(frozen=True)
class Due:
    """A source that should run."""

    source_id: int
    tenant_id: str
    is_folder: bool


@dataclass(frozen=True)
class Ended:
    """What became of a run; `error` None: it went well. The next is after `pause_s`."""

    told: str
    pause_s: float
    error: str | None = None


def due(session: Session, limit: int = 200) -> list[Due]:
    """Which sources should run, the longest due first."""
    rows = session.execute(
        f"SELECT source_id, tenant_id, kind FROM polling_source WHERE {_DUE} "  # noqa: S608  ours
        "ORDER BY next_run_at LIMIT %s",
        [limit],
    )
    return [Due(row["source_id"], row["tenant_id"], row["kind"] == "folder") for row in rows]


def claim(session: Session, source_id: int, holder: str) -> Source | None:
    """Take a source that is due; None: somebody else has, or it is not due any more."""
    row = session.execute(
        f"UPDATE polling_source SET holder = %s, lease_until = now() + make_interval(secs => %s) "  # noqa: S608  ours
        f"WHERE source_id = %s AND {_DUE} RETURNING {COLUMNS}",
        [holder, LEASE_S, source_id],
    ).fetchone()
    return None if row is None else read(row)


def renew(session: Session, holder: str) -> set[int]:
    """Keep what `holder` runs; which of it may go on. Not what was paused, changed or deleted."""
    rows = session.execute(
        "UPDATE polling_source SET lease_until = now() + make_interval(secs => %s) "  # noqa: S608  ours
        f"WHERE holder = %s AND {_ON} RETURNING source_id",
        [LEASE_S, holder],
    )
    return {row["source_id"] for row in rows}


def release(session: Session, sources: Collection[int], holder: str) -> None:
    """Give back what was not finished: it runs again at once."""
    session.execute(
        "UPDATE polling_source SET holder = NULL, lease_until = NULL "
        "WHERE source_id = ANY(%s) AND holder = %s",
        [list(sources), holder],
    )


def finish(session: Session, source: Source, holder: str, ended: Ended) -> None:
    """Write down how the run ended, unless the source was changed meanwhile."""
    session.execute(
        """
        UPDATE polling_source
        SET holder = NULL, lease_until = NULL, last_run_at = now(), last_error = %(error)s,
            last_told = CASE %(told)s WHEN '' THEN last_told ELSE %(told)s END,
            failures = CASE WHEN %(error)s::text IS NULL THEN 0 ELSE failures + 1 END,
            -- Somebody may have hurried it while it ran.
            hurried = hurried AND NOT %(hurried)s,
            next_run_at = CASE WHEN hurried AND NOT %(hurried)s THEN now()
                               ELSE now() + make_interval(secs => %(pause)s) END
        WHERE source_id = %(source)s AND holder = %(holder)s
        """,
        {
            "error": ended.error,
            "told": ended.told,
            "hurried": source.hurried,
            "pause": ended.pause_s,
            "source": source.source_id,
            "holder": holder,
        },
    )
