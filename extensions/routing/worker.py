"""Routing in the worker host: which rules apply to a study, their actions, and deliveries."""

from __future__ import annotations

from collections.abc import Sequence

from extensions.routing import (
    acting,
    actions,
    causes,
    facts_store,
    labels,
    ledger,
    planning,
    progress,
    replaying,
    runs,
    stuck,
    tryouts,
)
from extensions.routing.changes.crosswalk_sync import (
    sync_crosswalk,  # noqa: F401  a task of this host
)
from extensions.routing.sending import (  # noqa: F401  the senders once, before the fork
    delivering,
    line,
    sender_dicomweb,
    sender_dimse,
    verifying,
)
from gateway.actions import Action
from gateway.context import TaskContext
from gateway.events import ResultNoted, StudyArriving, StudyDeleted, StudyStable
from gateway.hookspecs import hookimpl
from gateway.jobs import task


@hookimpl
def rule_actions() -> Sequence[Action]:
    """What rules can do by routing itself."""
    return actions.ACTIONS


@hookimpl
def study_stable(event: StudyStable, context: TaskContext) -> None:
    """Begin the rules that apply. What was planned before stays as it is."""
    planning.study_is_stable(context, event.study_instance_uid)


@hookimpl
def study_arriving(event: StudyArriving, context: TaskContext) -> None:
    """Begin the rules that do not wait for the end of the study."""
    planning.study_is_arriving(context, event.study_instance_uid)


@hookimpl
def result_noted(event: ResultNoted, context: TaskContext) -> None:
    """Begin the rules that look at results, as far as they now apply."""
    planning.result_is_noted(context, event.study_instance_uid)


@hookimpl
def study_deleted(event: StudyDeleted, context: TaskContext) -> None:
    """What was not delivered of a deleted study never will be: say so."""
    with context.database.tenant_session(context.tenant_id) as session:
        found = ledger.deliveries_of_study(session, event.study_instance_uid)
        for place in sorted({each.destination_id for each in found if each.destination_id}):
            line.lock(session, place)
        facts_store.forget(session, event.study_instance_uid)
        labels.forget(session, event.study_instance_uid)
        tryouts.forget(session, event.study_instance_uid)
        runs.forget_values(session, event.study_instance_uid)
        for delivery in found:
            progress.fail_all(session, delivery.delivery_id, causes.STUDY_DELETED)
            line.leave(session, delivery.delivery_id)


@task
def act(context: TaskContext, run_id: int) -> None:
    """Do the next actions of a rule with a study."""
    acting.act(context, run_id)


@task
def apply(context: TaskContext, study_uid: str, rule_name: str) -> None:
    """Begin a rule because a person asks for it."""
    planning.on_demand(context, study_uid, rule_name)


@task
def try_rules(context: TaskContext, tryout_id: int) -> None:
    """Try a draft of the rules on the last studies."""
    tryouts.run(context, tryout_id)


@task
def look_for_stuck(context: TaskContext, run: int) -> None:
    """Tell a tenant's admins of what is stuck, each minute."""
    stuck.look(context, run)


@task
def deliver(context: TaskContext, delivery_id: int, destination_id: int | None) -> None:
    """Send what the destination has not acknowledged yet."""
    delivering.run(context, delivery_id, destination_id)


@task
def verify(context: TaskContext, delivery_id: int) -> None:
    """Ask the destination whether it has what it has acknowledged."""
    verifying.run(context, delivery_id)


@task
def replay(context: TaskContext, study_uid: str, destination_id: int, actor: str) -> None:
    """Send a study to a destination again."""
    replaying.run(context, study_uid, destination_id, actor)
