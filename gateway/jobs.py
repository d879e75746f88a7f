"""Jobs: PostgreSQL is the truth, Redis only the executor.

A job is a row, made in the transaction of whoever wants it. It runs at least once, so a task must
bear being run again. Every change to a running job names its attempt: a worker that lost its
lease can no longer say anything about it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg.types.json import Jsonb

from gateway.db import Session
from gateway.errors import BrokenExtension, GatewayError

CHANNEL = "argonath_job"
LEASE_S = 30.0
LONGEST_DELAY_S = 600.0


class Postpone(GatewayError):
    """A job cannot run now.

    It is tried again by itself; this does not count as an attempt.
    """

    http_status = 503
    permanent = False

    def __init__(self, delay_s: float, detail: str = "") -> None:
        super().__init__(detail)
        self.delay_s = delay_s


@dataclass(frozen=True)
class Job:
    """A job that this process has claimed."""

    job_id: int
    tenant_id: str
    extension: str
    task: str
    arguments: dict[str, Any]
    attempts: int
    max_attempts: int
    time_limit_s: int
    run_at: datetime


def task[**P](function: Callable[P, None]) -> Callable[P, None]:
    """Mark a function of a `worker.py` as one that a job may name: ``f(context, **arguments)``."""
    function.argonath_task = True  # type: ignore[attr-defined]
    return function


def task_named(module: object, name: str) -> Callable[..., None]:
    """The task of that name; raises `BrokenExtension` for what `task` does not mark."""
    function = getattr(module, name, None)
    if not callable(function) or not getattr(function, "argonath_task", False):
        raise BrokenExtension(f"It has no task {name!r}.")
    return function  # type: ignore[no-any-return]


def enqueue(
    session: Session,
    *,
    tenant_id: str,
    extension: str,
    task: str,
    arguments: Mapping[str, Any],
    study_uid: str | None = None,
    queue: str = "default",
    unique_key: str | None = None,
    delay_s: float = 0.0,
    max_attempts: int = 10,
    time_limit_s: int = 600,
) -> int | None:
    """Make a job if, and only if, the session's transaction commits; its id.

    None: a job of this tenant with this `unique_key` exists, whatever became of it. Until it has
    ended, the study `study_uid` is not deleted (`studies.let_go`).
    """
    row = session.execute(
        """
        INSERT INTO job (tenant_id, queue, extension, task, arguments, study_instance_uid,
                         unique_key, run_at, max_attempts, time_limit_s)
        VALUES (%s, %s, %s, %s, %s, %s, %s, now() + make_interval(secs => %s), %s, %s)
        ON CONFLICT (unique_key) DO NOTHING RETURNING job_id
        """,
        [
            tenant_id,
            queue,
            extension,
            task,
            Jsonb(dict(arguments)),
            study_uid,
            # Without the tenant one could block, or find out about, another's job.
            None if unique_key is None else f"{tenant_id}:{unique_key}",
            delay_s,
            max_attempts,
            time_limit_s,
        ],
    ).fetchone()
    if row is None:
        return None
    session.execute("SELECT pg_notify(%s, '')", [CHANNEL])
    return int(row["job_id"])


@dataclass(frozen=True)
class Standing:
    """How far a job is, and for how many seconds there has been one."""

    job_id: int
    state: Literal["waiting", "running", "done", "failed"]
    last_error: str
    age_s: float


def standing(session: Session, tenant_id: str, unique_key: str) -> Standing | None:
    """How far the job of that key is; None: there is none, or it was forgotten."""
    row = session.execute(
        "SELECT job_id, state, coalesce(last_error, '') AS last_error, "
        "extract(epoch FROM now() - created_at)::float AS age_s FROM job WHERE unique_key = %s",
        [f"{tenant_id}:{unique_key}"],
    ).fetchone()
    return None if row is None else Standing(**row)


def free_key(session: Session, job_id: int) -> None:
    """Let the key of a job that has failed be used by another."""
    session.execute(
        "UPDATE job SET unique_key = NULL WHERE job_id = %s AND state = 'failed'", [job_id]
    )


def claim(session: Session, job_id: int) -> Job | None:
    """Take a job that is due, or whose worker was lost. None: it is not to run. System session."""
    row = session.execute(
        """
        UPDATE job SET state = 'running', attempts = attempts + 1,
                       lease_until = now() + make_interval(secs => %s)
        WHERE job_id = %s AND ((state = 'waiting' AND run_at <= now())
                               OR (state = 'running' AND lease_until < now()))
        RETURNING job_id, tenant_id, extension, task, arguments, attempts, max_attempts,
                  time_limit_s, run_at
        """,
        [LEASE_S, job_id],
    ).fetchone()
    return None if row is None else Job(**row)


def renew(session: Session, job: Job) -> bool:
    """Keep a running job ours for another lease; False: it is not ours any more."""
    return _update(session, job, "lease_until = now() + make_interval(secs => %s)", LEASE_S)


def finish(session: Session, job: Job) -> bool:
    """The job is done."""
    return _update(session, job, "state = 'done', finished_at = now(), last_error = NULL")


def give_up(session: Session, job: Job, error: str) -> bool:
    """The job failed and is not tried again."""
    return _update(session, job, "state = 'failed', finished_at = now(), last_error = %s", error)


def try_again(session: Session, job: Job, *, delay_s: float, error: str, free: bool) -> bool:
    """Let the job wait; `free`: this run does not count as an attempt."""
    assignments = (
        "state = 'waiting', queued_until = NULL, lease_until = NULL, "
        # Whoever hurried it meanwhile may have removed what it failed of.
        "run_at = CASE run_at WHEN %s THEN now() + make_interval(secs => %s) ELSE run_at END, "
        "last_error = %s, "
        # Attempts only grow: they tell one run from another.
        "max_attempts = max_attempts + %s"
    )
    updated = _update(session, job, assignments, job.run_at, delay_s, error, int(free))
    session.execute("SELECT pg_notify(%s, '')", [CHANNEL])
    return updated


def hurry(session: Session, *, extension: str, task: str, arguments: Mapping[str, Any]) -> bool:
    """What has these arguments and waits is tried now; what runs and fails is, too.

    False: there is none.
    """
    cursor = session.execute(
        "UPDATE job SET run_at = now() WHERE state IN ('waiting', 'running') "
        "AND extension = %s AND task = %s AND arguments @> %s",
        [extension, task, Jsonb(dict(arguments))],
    )
    session.execute("SELECT pg_notify(%s, '')", [CHANNEL])
    return cursor.rowcount > 0


def wake(session: Session, job_id: int | None, delay_s: float) -> bool:
    """A job that waits or runs is due in so many seconds. False: it has ended."""
    cursor = session.execute(
        "UPDATE job SET run_at = now() + make_interval(secs => %s), queued_until = NULL "
        "WHERE job_id = %s AND state IN ('waiting', 'running')",
        [delay_s, job_id],
    )
    session.execute("SELECT pg_notify(%s, '')", [CHANNEL])
    return cursor.rowcount == 1


def call_off(session: Session, *, extension: str, task: str, arguments: Mapping[str, Any]) -> None:
    """What has these arguments and waits is not run any more."""
    session.execute(
        "UPDATE job SET state = 'done', finished_at = now() WHERE state = 'waiting' "
        "AND extension = %s AND task = %s AND arguments @> %s",
        [extension, task, Jsonb(dict(arguments))],
    )


def backoff_s(first_s: float, failures: int, longest_s: float = LONGEST_DELAY_S) -> float:
    """The pause after so many failures: doubling, up to `longest_s`, 20 % earlier or later."""
    pause = min(longest_s, first_s * 2.0 ** min(max(failures, 1) - 1, 30))
    return jittered_s(pause)


def jittered_s(pause_s: float) -> float:
    """The pause, 20 % shorter or longer: what failed together does not come back together."""
    return pause_s * random.uniform(0.8, 1.2)  # noqa: S311  no secret


def _update(session: Session, job: Job, assignments: str, *values: object) -> bool:
    statement = (
        f"UPDATE job SET {assignments} WHERE job_id = %s AND state = 'running' AND attempts = %s"  # noqa: S608  ours
    )
    cursor = session.execute(statement.encode(), [*values, job.job_id, job.attempts])
    return cursor.rowcount == 1
