"""The line of deliveries before each destination: whose turn it is.

Every open delivery has a job, but only as many as the destination takes at once are *called*: the
others' jobs are parked, due in years, and cost nothing. Whoever plans, ends a run, or changes a
destination calls the next, in the same transaction and with the destination's row locked. All
functions take a tenant's session.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import get_args

from extensions.routing.rules.rule import Priority
from extensions.routing.sending.limits import Limits, parse_limits, wait_s
from gateway import jobs
from gateway.db import Row, Session

PARKED_S = 10 * 365 * 86400.0
QUEUE = "deliver"
TIME_LIMIT_S = 3600

_PRIORITIES: tuple[str, ...] = get_args(Priority.__value__)  # the most urgent first


@dataclass(frozen=True)
class _Next:
    """A delivery that may be called, and the seconds until it may go."""

    wait_s: float
    rank: int
    delivery: Row


def lock(session: Session, destination_id: int | None) -> Row | None:
    """The destination, whose line nobody else changes until the session ends. Lock it first."""
    return session.execute(
        "SELECT *, greatest(0, coalesce(extract(epoch FROM retry_at - now()), 0)) AS retry_in_s "
        "FROM destination WHERE destination_id = %s FOR NO KEY UPDATE",
        [destination_id],
    ).fetchone()


def join(session: Session, delivery_id: int) -> None:
    """Have the delivery sent when its turn comes; its study stays until it was.

    Its destination is locked.
    """
    row = session.execute(
        "SELECT d.*, j.state AS job_state FROM delivery d LEFT JOIN job j USING (job_id) "
        "WHERE delivery_id = %s",
        [delivery_id],
    ).fetchone()
    if row is None or row["job_state"] in {"waiting", "running"}:
        return
    session.execute("UPDATE delivery SET due_at = now() WHERE delivery_id = %s", [delivery_id])
    _new_job(session, row)


def call_next(session: Session, destination_id: int | None, now: datetime | None = None) -> None:
    """Call as many deliveries as the destination takes; nobody while it is switched off."""
    destination = lock(session, destination_id)
    if destination is None:
        return
    limits = parse_limits(destination["limits"])
    busy = _recalled(session, destination_id)
    if not destination["enabled"]:
        return
    # One that does not answer holds one worker at a time, not several.
    most = 1 if destination["failures"] else limits.concurrency
    clock = now or datetime.now().astimezone()
    while busy < most:
        found = _first(session, destination_id, limits, clock)
        if found is None:
            return
        pause_s = max(found.wait_s, float(destination["retry_in_s"]))
        _call(session, found.delivery, pause_s)
        if pause_s > 0:
            return  # whatever comes before then calls anew
        busy += 1


def is_called(session: Session, delivery_id: int) -> bool:
    """Whether it is the delivery's turn."""
    row = session.execute(
        "SELECT called_at FROM delivery WHERE delivery_id = %s", [delivery_id]
    ).fetchone()
    return row is not None and row["called_at"] is not None


def step_back(
    session: Session, delivery_id: int, destination_id: int | None, delay_s: float = 0.0
) -> bool:
    """A run has ended, the next is called. True: something is left, and it queues at the end."""
    lock(session, destination_id)
    row = session.execute(
        """
        UPDATE delivery SET called_at = NULL, running = false, next_try_at = NULL,
            due_at = now() + make_interval(secs => %s),
            job_id = CASE WHEN planned + sending > 0 AND held = '' THEN job_id END
        WHERE delivery_id = %s RETURNING job_id IS NOT NULL AS open
        """,
        [delay_s, delivery_id],
    ).fetchone()
    call_next(session, destination_id)
    return row is not None and bool(row["open"])


def leave(session: Session, delivery_id: int) -> None:
    """Nothing more of it is sent: its job ends, and its study may be deleted."""
    row = session.execute(
        "UPDATE delivery SET called_at = NULL, running = false, next_try_at = NULL "
        "WHERE delivery_id = %s "
        "RETURNING destination_id",
        [delivery_id],
    ).fetchone()
    jobs.call_off(
        session, extension="routing", task="deliver", arguments={"delivery_id": delivery_id}
    )
    if row is not None:
        call_next(session, row["destination_id"])


def _recalled(session: Session, destination_id: int | None) -> int:
    """How many are sent or about to be; who only waits for a time, or lost its job, is put back."""
    rows = session.execute(
        """
        SELECT d.*, coalesce(j.state = 'running' OR j.run_at <= now(), false) AS busy,
               coalesce(j.state = 'waiting', false) AS sleeps
        FROM delivery d LEFT JOIN job j ON j.job_id = d.job_id AND j.state IN ('waiting', 'running')
        WHERE d.destination_id = %s AND d.called_at IS NOT NULL
        """,
        [destination_id],
    ).fetchall()
    for row in rows:
        if not row["busy"]:
            session.execute(
                "UPDATE delivery SET called_at = NULL, next_try_at = NULL WHERE delivery_id = %s",
                [row["delivery_id"]],
            )
            if row["sleeps"]:
                jobs.wake(session, row["job_id"], PARKED_S)
    return sum(row["busy"] for row in rows)


def _first(
    session: Session, destination_id: int | None, limits: Limits, now: datetime
) -> _Next | None:
    """Who goes first of those that may go now, by priority; else who may go first."""
    found = []
    for rank, priority in enumerate(_PRIORITIES):
        row = session.execute(
            """
            SELECT *, greatest(0, extract(epoch FROM due_at - now())) AS due_in_s FROM delivery
            WHERE destination_id = %s AND priority = %s AND called_at IS NULL
              AND state IN ('waiting', 'sending') ORDER BY due_at, delivery_id LIMIT 1
            """,
            [destination_id, priority],
        ).fetchone()
        if row is not None:
            pause_s = max(float(row["due_in_s"]), wait_s(limits, priority, now))
            found.append(_Next(pause_s, rank, row))
    return min(found, key=lambda each: (each.wait_s, each.rank)) if found else None


def _call(session: Session, delivery: Row, pause_s: float) -> None:
    session.execute(
        "UPDATE delivery SET called_at = now(), next_try_at = CASE WHEN %(pause)s > 0 "
        "THEN now() + make_interval(secs => %(pause)s) END WHERE delivery_id = %(delivery)s",
        {"pause": pause_s, "delivery": delivery["delivery_id"]},
    )
    if not jobs.wake(session, delivery["job_id"], pause_s):
        jobs.wake(session, _new_job(session, delivery), pause_s)


def _new_job(session: Session, delivery: Row) -> int:
    job_id = jobs.enqueue(
        session,
        tenant_id=delivery["tenant_id"],
        extension="routing",
        task="deliver",
        arguments={
            "delivery_id": delivery["delivery_id"],
            "destination_id": delivery["destination_id"],
        },
        study_uid=delivery["study_instance_uid"],
        queue=QUEUE,
        delay_s=PARKED_S,
        max_attempts=1000,
        time_limit_s=TIME_LIMIT_S,
    )
    assert job_id is not None  # it has no unique key
    session.execute(
        "UPDATE delivery SET job_id = %s WHERE delivery_id = %s", [job_id, delivery["delivery_id"]]
    )
    return job_id
