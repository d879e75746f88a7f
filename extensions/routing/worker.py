"""Routing in the worker host: which rules apply to a study, and the run of a delivery."""

from __future__ import annotations

from extensions.routing import ledger, progress, rulebook, rules, tags
from extensions.routing.delivering import run
from extensions.routing.progress import Reference
from gateway.context import TaskContext
from gateway.errors import NotFound
from gateway.events import StudyDeleted, StudyStable
from gateway.hookspecs import hookimpl
from gateway.jobs import task


@hookimpl
def study_stable(event: StudyStable, context: TaskContext) -> None:
    """Plan a delivery for each rule that applies. What was planned before stays as it is."""
    with context.database.tenant_session(context.tenant_id) as session:
        active = rulebook.list_rules(session, enabled_only=True)
    if not active:
        return
    try:
        references = _references(context, event.study_instance_uid)
        series = _series_tags(context, event.study_instance_uid, references)
    except NotFound:
        return  # deleted meanwhile
    for rule in active:
        verdict = rules.evaluate(rule.conditions, series)
        if verdict.applies:
            _plan(event, context, rule, verdict, references)


@hookimpl
def study_deleted(event: StudyDeleted, context: TaskContext) -> None:
    """What was not delivered of a deleted study never will be: say so."""
    with context.database.tenant_session(context.tenant_id) as session:
        for delivery in ledger.deliveries_of_study(session, event.study_instance_uid):
            progress.fail_all(session, delivery.delivery_id, progress.STUDY_DELETED)


@task
def deliver(context: TaskContext, delivery_id: int, destination_id: int | None) -> None:
    """Send what the destination has not acknowledged yet."""
    run(context, delivery_id, destination_id)


def _plan(
    event: StudyStable,
    context: TaskContext,
    rule: rulebook.Rule,
    verdict: rules.Verdict,
    references: list[Reference],
) -> None:
    with context.database.tenant_session(context.tenant_id) as session:
        delivery_id, added = progress.plan(
            session,
            study_instance_uid=event.study_instance_uid,
            destination_id=rule.destination_id,
            rule_name=rule.name,
            verdict=verdict,
            instances=references,
        )
        if added:  # so a second run of this job makes no second one
            ledger.enqueue_delivery(session, context.tenant_id, delivery_id, rule.destination_id)


def _references(context: TaskContext, study_uid: str) -> list[Reference]:
    return [
        Reference(
            element["00080018"]["Value"][0],
            element["0020000E"]["Value"][0],
            element["00080016"]["Value"][0],
        )
        for element in context.archive.instances_of(study_uid)
    ]


def _series_tags(
    context: TaskContext, study_uid: str, references: list[Reference]
) -> list[dict[str, tuple[str, ...]]]:
    """The tags of one instance of each series stand for the series."""
    first = {reference.series_instance_uid: reference for reference in reversed(references)}
    return tags.with_modalities(
        [
            tags.from_dicom_json(
                context.archive.metadata_of(study_uid, series_uid, reference.sop_instance_uid)
            )
            for series_uid, reference in first.items()
        ]
    )
