"""The rows that say how far each rule is with each study. All functions take a tenant's session.

A run is *running* until all actions of its rule are done, *held* while it waits for a person, or
*failed* or *discarded* for good. It begins anew when the rule catches more instances of the study,
or a person asks for it again. Of one that is running `cause` is why its next action was tried in
vain, and `updated_at` when the last one was done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg.types.json import Jsonb

from gateway import audit, jobs
from gateway.actions import Step, steps_of
from gateway.db import Row, Session
from gateway.errors import Conflict, GatewayError, NotFound

type State = Literal["running", "held", "done", "failed", "discarded"]

STATES: tuple[State, ...] = ("running", "held", "done", "failed", "discarded")
_ATTENTION = (
    "(state IN ('held', 'failed') OR state = 'running' AND updated_at < now() - interval '10 min')"
)
QUEUES: Mapping[str, str] = {"urgent": "urgent", "normal": "default", "off-peak": "default"}


class UnderWay(GatewayError):
    """The rule is under way with the study already.

    Wait until it is done, is held or has failed, or discard it on the study's page; then apply it
    again.
    """

    http_status = 409


@dataclass(frozen=True)
class Run:
    """One rule with one study, or with one series of it. `next_step` counts from 0."""

    run_id: int
    tenant_id: str
    study_instance_uid: str
    series_instance_uid: str
    rule_name: str
    rulebook_version: int
    reason: Sequence[Mapping[str, Any]]
    steps: tuple[Step, ...]
    next_step: int
    priority: str
    state: State
    cause: str
    instances: int
    round: int
    created_at: datetime
    updated_at: datetime


def begin(
    session: Session,
    *,
    study_uid: str,
    series_uid: str,
    rule_name: str,
    version: int,
    reason: Sequence[Mapping[str, Any]],
    steps: Sequence[Step],
    priority: str,
    instances: int,
    asked: bool = False,
) -> int | None:
    """Have the actions of a rule done; None: it has caught no more than when it last began.

    What somebody discarded stays so. When a person has `asked` for it, it begins again whatever
    became of it, but not while it is under way.
    """
    row = session.execute(
        """
        INSERT INTO rule_run AS r (tenant_id, study_instance_uid, series_instance_uid, rule_name,
                                   rulebook_version, reason, steps, priority, instances)
        VALUES (current_tenant(), %(study)s, %(series)s, %(rule)s, %(version)s, %(reason)s,
                %(steps)s, %(priority)s, %(instances)s)
        ON CONFLICT (tenant_id, study_instance_uid, series_instance_uid, rule_name) DO UPDATE
        SET rulebook_version = excluded.rulebook_version, reason = excluded.reason,
            steps = excluded.steps, priority = excluded.priority, instances = excluded.instances,
            round = r.round + 1, next_step = 0, state = 'running', cause = '', updated_at = now()
        WHERE CASE WHEN %(asked)s THEN r.state <> 'running'
                   ELSE r.instances < excluded.instances AND r.state <> 'discarded' END
        RETURNING run_id, tenant_id
        """,
        {
            "study": study_uid,
            "series": series_uid,
            "rule": rule_name,
            "version": version,
            "reason": Jsonb(list(reason)),
            "steps": Jsonb([step.as_json() for step in steps]),
            "priority": priority,
            "instances": instances,
            "asked": asked,
        },
    ).fetchone()
    if row is None:
        return None
    _enqueue(session, row["tenant_id"], row["run_id"], study_uid, priority)
    return int(row["run_id"])


def ask(session: Session, study_uid: str, rule_name: str) -> None:
    """Have a person's rule on demand begun by the worker; raises `UnderWay`."""
    asked = session.execute(
        "SELECT FROM job WHERE study_instance_uid = %s AND state IN ('waiting', 'running') "
        "AND extension = 'routing' AND task = 'apply' AND arguments ->> 'rule_name' = %s",
        [study_uid, rule_name],
    ).fetchone()
    for run in runs_of_study(session, study_uid):
        if run.rule_name == rule_name and run.state == "running":
            number = min(run.next_step + 1, len(run.steps))
            raise UnderWay(f"Rule {rule_name!r}, action {number} of {len(run.steps)}.")
    if asked is not None:
        raise UnderWay(f"Rule {rule_name!r}: somebody has just asked for it.")
    jobs.enqueue(
        session,
        tenant_id=_tenant(session),
        extension="routing",
        task="apply",
        arguments={"study_uid": study_uid, "rule_name": rule_name},
        study_uid=study_uid,
    )


def get_run(session: Session, run_id: int) -> Run:
    """One run; raises `NotFound`."""
    row = session.execute("SELECT * FROM rule_run WHERE run_id = %s", [run_id]).fetchone()
    if row is None:
        raise NotFound(f"Run {run_id} of a rule.")
    return _read(row)


def runs_of_study(session: Session, study_uid: str) -> list[Run]:
    """What the rules did and do with a study, oldest first."""
    rows = session.execute(
        "SELECT * FROM rule_run WHERE study_instance_uid = %s ORDER BY run_id", [study_uid]
    )
    return [_read(row) for row in rows]


def needing_attention(session: Session, *, limit: int = 50, offset: int = 0) -> list[Run]:
    """What is held or has failed, or has long been running; latest first."""
    rows = session.execute(
        f"SELECT * FROM rule_run WHERE {_ATTENTION} "  # noqa: S608  ours
        "ORDER BY updated_at DESC, run_id DESC LIMIT %s OFFSET %s".encode(),
        [limit, offset],
    )
    return [_read(row) for row in rows]


def count_needing_attention(session: Session) -> int:
    """How many are held or have failed, or have long been running."""
    row = session.execute(
        f"SELECT count(*) AS n FROM rule_run WHERE {_ATTENTION}".encode()  # noqa: S608  ours
    ).fetchone()
    return int(row["n"]) if row else 0


def step_done(session: Session, run: Run, number: int) -> bool:
    """Action `number` is done. False: the run has begun anew, or somebody ended it."""
    state = "done" if number + 1 == len(run.steps) else "running"
    return _update(
        session, run, "next_step = %s, state = %s, cause = ''", [number + 1, state], at=number
    )


def note(session: Session, run: Run, number: int, cause: str) -> None:
    """Why action `number` was not done yet; it is tried again by itself."""
    session.execute(
        "UPDATE rule_run SET cause = %(cause)s WHERE run_id = %(run)s AND next_step = %(number)s "
        "AND state = 'running' AND round = %(round)s AND cause <> %(cause)s",
        {"cause": cause, "run": run.run_id, "number": number, "round": run.round},
    )


def stop(session: Session, run: Run, number: int, state: State, cause: str) -> bool:
    """Action `number` holds, fails or discards the run."""
    return _update(
        session, run, "next_step = %s, state = %s, cause = %s", [number, state, cause], at=number
    )


def release(session: Session, run_id: int, *, actor: str, origin: str = "") -> None:
    """Go on now with a run that is held, has failed or was tried in vain; a plain *hold* is passed.

    Raises `Conflict`.
    """
    run = _wanted(session, run_id, "running", "held", "failed")
    passed = int(run.state == "held" and run.steps[run.next_step].action == "hold")
    number = run.next_step + passed
    state = "done" if number == len(run.steps) else "running"
    session.execute(
        "UPDATE rule_run SET state = %s, next_step = %s, cause = '', updated_at = now() "
        "WHERE run_id = %s",
        [state, number, run_id],
    )
    # The job of one that is not running has ended, or is about to.
    if state == "running" and not (run.state == "running" and _hurry(session, run_id)):
        _enqueue(session, run.tenant_id, run_id, run.study_instance_uid, run.priority)
    _audit(session, run, "release-study", actor, origin, run.cause)


def discard(session: Session, run_id: int, reason: str, *, actor: str, origin: str = "") -> None:
    """Do nothing more of a run, also when more arrives; what is being done just now may still end.

    Raises `Conflict` for one that has ended.
    """
    run = _wanted(session, run_id, "running", "held", "failed")
    jobs.call_off(session, extension="routing", task="act", arguments={"run_id": run_id})
    session.execute(
        "UPDATE rule_run SET state = 'discarded', cause = %s, updated_at = now() WHERE run_id = %s",
        [reason, run_id],
    )
    _audit(session, run, "discard-study", actor, origin, reason)


def forget_values(session: Session, study_uid: str) -> None:
    """The study was deleted: so is what its rules saw; which conditions were met stays.

    If it comes again, its rules begin anew, however little of it that is.
    """
    session.execute("UPDATE rule_run SET instances = 0 WHERE study_instance_uid = %s", [study_uid])
    for table in ("rule_run", "delivery"):
        session.execute(
            f"""
            UPDATE {table} SET reason = (
                SELECT coalesce(jsonb_agg(line - 'seen' ORDER BY place), '[]')
                FROM jsonb_array_elements(reason) WITH ORDINALITY AS told (line, place))
            WHERE study_instance_uid = %s
            """.encode(),  # noqa: S608  ours
            [study_uid],
        )


def _wanted(session: Session, run_id: int, *states: State) -> Run:
    session.execute("SELECT FROM rule_run WHERE run_id = %s FOR UPDATE", [run_id])
    run = get_run(session, run_id)
    if run.state not in states:
        told = f"Rule {run.rule_name!r} is not {' or '.join(states)} with this study"
        raise Conflict(f"{told}: it is {run.state}.")
    return run


def _tenant(session: Session) -> str:
    row = session.execute("SELECT current_tenant() AS id").fetchone()
    assert row is not None
    return str(row["id"])


def _enqueue(session: Session, tenant_id: str, run_id: int, study_uid: str, priority: str) -> None:
    jobs.enqueue(
        session,
        tenant_id=tenant_id,
        extension="routing",
        task="act",
        arguments={"run_id": run_id},
        study_uid=study_uid,
        queue=QUEUES[priority],
        max_attempts=1000,
    )


def _hurry(session: Session, run_id: int) -> bool:
    return jobs.hurry(session, extension="routing", task="act", arguments={"run_id": run_id})


def _update(session: Session, run: Run, what: str, values: list[object], *, at: int) -> bool:
    cursor = session.execute(
        f"UPDATE rule_run SET {what}, updated_at = now() WHERE run_id = %s AND next_step = %s "  # noqa: S608  ours
        "AND state = 'running' AND round = %s".encode(),
        [*values, run.run_id, at, run.round],
    )
    return cursor.rowcount == 1


def _audit(session: Session, run: Run, action: str, actor: str, origin: str, detail: str) -> None:
    record = audit.Record(
        actor,
        action,
        f"study {run.study_instance_uid}",
        "allowed",
        run.tenant_id,
        origin,
        f"rule {run.rule_name}: {detail}",
    )
    audit.append(session, record)


def _read(row: Row) -> Run:
    values = {name: row[name] for name in Run.__dataclass_fields__}
    return Run(**{**values, "steps": steps_of(row["steps"])})
