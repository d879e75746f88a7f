"""The kernel's own rows go when they are done with: ended jobs, told events, expired sessions.

The database lets nothing else be deleted (schema/0003_retention.sql). The audit and what
extensions keep, such as routing's ledger, stay.
"""

from __future__ import annotations

from gateway.db import Session
from gateway.settings import Settings

BATCH = 1000
_SESSION_DAYS = 1

# Materialized: a subquery with a limit may else be run again for each row, and the limit is none.
_JOBS = """
    WITH old AS MATERIALIZED (
        SELECT job_id FROM job
        WHERE state IN ('done', 'failed') AND finished_at < now() - make_interval(days => %s)
        ORDER BY finished_at LIMIT %s FOR UPDATE SKIP LOCKED)
    DELETE FROM job USING old WHERE job.job_id = old.job_id
"""
_EVENTS = """
    WITH old AS MATERIALIZED (
        SELECT event_id FROM outbox WHERE dispatched_at < now() - make_interval(days => %s)
        ORDER BY dispatched_at LIMIT %s FOR UPDATE SKIP LOCKED)
    DELETE FROM outbox USING old WHERE outbox.event_id = old.event_id
"""
# Of each person in each tenant one stays: it says when they were last there.
_SESSIONS = """
    WITH old AS MATERIALIZED (
        SELECT credential_id FROM credential c
        WHERE kind = 'session' AND expires_at < now() - make_interval(days => %s)
          AND (last_used_at IS NULL OR EXISTS (
               SELECT FROM credential later
               WHERE later.kind = 'session' AND later.person_id = c.person_id
                 AND later.tenant_id IS NOT DISTINCT FROM c.tenant_id
                 AND (later.last_used_at, later.credential_id) > (c.last_used_at, c.credential_id)))
        ORDER BY expires_at LIMIT %s FOR UPDATE SKIP LOCKED)
    DELETE FROM credential USING old WHERE credential.credential_id = old.credential_id
"""


def sweep(session: Session, settings: Settings, *, batch: int = BATCH) -> dict[str, int]:
    """Remove at most `batch` rows of each kind; how many of which. System session."""
    return {
        "jobs": session.execute(_JOBS, [settings.keep_jobs_days, batch]).rowcount,
        "events": session.execute(_EVENTS, [settings.keep_events_days, batch]).rowcount,
        "sessions": session.execute(_SESSIONS, [_SESSION_DAYS, batch]).rowcount,
    }
