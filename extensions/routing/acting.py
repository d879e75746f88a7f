"""Doing what a rule says with a study: one action after the other, each at least once."""

from __future__ import annotations

from contextlib import suppress

from extensions.routing import runs
from extensions.routing.runs import Run
from gateway import audit
from gateway.actions import Effect, NeedsPerson, Step, Subject
from gateway.archive import Reference
from gateway.context import TaskContext
from gateway.errors import DatabaseUnavailable, GatewayError, NotFound
from gateway.jobs import Postpone


class Discarded(GatewayError):
    """A rule says that nothing more is done with the study."""


def act(context: TaskContext, run_id: int) -> None:
    """Go on with a run where it is; what can be tried again is noted, and raised."""
    with context.database.tenant_session(context.tenant_id) as session:
        run = runs.get_run(session, run_id)
    if run.state != "running":
        return
    try:
        held = context.archive.references_of(run.study_instance_uid)
    except NotFound:
        _stop(context, run, run.next_step, "failed", "The study was deleted here.")
        return
    caught = [it for it in held if run.series_instance_uid in {"", it.series_instance_uid}]
    transforms: tuple[Step, ...] = ()
    for number, step in enumerate(run.steps):
        try:
            action, settings = context.actions.parse(step)
            if not isinstance(action, Effect):
                transforms = (*transforms, step)
            elif number >= run.next_step:
                action.run(context, settings, _subject(run, caught, transforms))
        except GatewayError as error:
            # What cannot even be read may stand before the action that is next.
            _failed(context, run, max(number, run.next_step), error)
            return
        except Exception as error:
            told = f"{type(error).__name__} in the action's code; the worker's log tells where."
            _note(context, run, number, told)
            raise
        if number >= run.next_step and not _done(context, run, number):
            return  # it has begun anew, by another job


def _subject(run: Run, caught: list[Reference], transforms: tuple[Step, ...]) -> Subject:
    return Subject(
        study_instance_uid=run.study_instance_uid,
        instances=tuple(caught),
        rule_name=run.rule_name,
        reason=run.reason,
        transforms=transforms,
        priority=run.priority,
        round=run.round,
        series_instance_uid=run.series_instance_uid,
    )


def _done(context: TaskContext, run: Run, number: int) -> bool:
    with context.database.tenant_session(context.tenant_id) as session:
        return runs.step_done(session, run, number)


def _failed(context: TaskContext, run: Run, number: int, error: GatewayError) -> None:
    match error:
        case NeedsPerson():
            _stop(context, run, number, "held", error.detail)
        case Discarded():
            _stop(context, run, number, "discarded", error.detail)
        case _ if error.permanent:
            _stop(context, run, number, "failed", str(error))
        case _:
            told = error.detail if isinstance(error, Postpone) else str(error)
            _note(context, run, number, told)
            raise error


def _note(context: TaskContext, run: Run, number: int, cause: str) -> None:
    with (
        suppress(DatabaseUnavailable),
        context.database.tenant_session(context.tenant_id) as session,
    ):
        runs.note(session, run, number, cause)


def _stop(context: TaskContext, run: Run, number: int, state: runs.State, cause: str) -> None:
    with context.database.tenant_session(context.tenant_id) as session:
        if not runs.stop(session, run, number, state, cause):
            return
        record = audit.Record(
            actor="routing",
            action=f"{'hold' if state == 'held' else 'end'}-rule",
            resource=f"study {run.study_instance_uid}",
            verdict="failed" if state == "failed" else "allowed",
            tenant_id=context.tenant_id,
            detail=f"rule {run.rule_name}, action {number + 1}: {cause}",
        )
        audit.append(session, record)
