"""From a study that has arrived, or is arriving, to what the rules do with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from extensions.routing import facts_store, labels, rulebook, runs
from extensions.routing.acting import references
from extensions.routing.rules import facts
from extensions.routing.rules.catching import WHEN_STABLE, WHILE_ARRIVING, caught
from extensions.routing.rules.facts import Facts
from extensions.routing.rules.rule import Trigger
from gateway import studies
from gateway.actions import Reference
from gateway.context import TaskContext
from gateway.errors import NotFound


def study_is_stable(context: TaskContext, study_uid: str) -> None:
    """Begin every rule that applies.

    The study's facts are kept even if there is no rule yet: a later draft is tried on them.
    """
    _plan(context, study_uid, WHEN_STABLE)


def study_is_arriving(context: TaskContext, study_uid: str) -> None:
    """Begin the rules that do not wait for the end of the study."""
    _plan(context, study_uid, WHILE_ARRIVING, arriving=True)


def on_demand(context: TaskContext, study_uid: str, rule_name: str) -> None:
    """Begin one rule because a person asks for it, if its conditions are met."""
    _plan(context, study_uid, (Trigger.ON_DEMAND,), only=rule_name)


def _plan(
    context: TaskContext,
    study_uid: str,
    triggers: Iterable[Trigger],
    *,
    arriving: bool = False,
    only: str = "",
) -> None:
    with context.database.tenant_session(context.tenant_id) as session:
        study = studies.find(session, study_uid)
        book = rulebook.live(session)
        labelled = labels.of_study(session, study_uid)
    try:
        series = facts_of_series(context, study_uid, study["source"] if study else "")
    except NotFound:
        return  # deleted meanwhile
    with context.database.tenant_session(context.tenant_id) as session:
        facts_store.keep(session, study_uid, series)
        growing = (
            facts_store.growing(session, study_uid, context.settings.stable_after_s)
            if arriving
            else set[str]()
        )
    rules = [rule for rule in book.rules if only in {"", rule.name}]
    now = datetime.now().astimezone()
    catches = list(
        caught(rules, series, triggers=triggers, now=now, labels=labelled, growing=growing)
    )
    with context.database.tenant_session(context.tenant_id) as session:
        for catch in catches:
            rule = catch.verdict.rule
            runs.begin(
                session,
                study_uid=study_uid,
                series_uid=catch.series_instance_uid,
                rule_name=rule.name,
                version=book.version,
                reason=catch.verdict.reason(),
                steps=rule.actions,
                priority=rule.priority,
                instances=catch.instances,
            )


def facts_of_series(context: TaskContext, study_uid: str, source: str) -> dict[str, Facts]:
    """The facts of one instance of each series stand for the series."""
    calling_aet, sender = facts_store.sender_of(source)
    held = references(context, study_uid)
    counts = Counter(each.series_instance_uid for each in held)
    first: dict[str, Reference] = {}
    for each in held:
        first.setdefault(each.series_instance_uid, each)
    return {
        series_uid: facts.of_series(
            context.archive.metadata_of(study_uid, series_uid, each.sop_instance_uid),
            calling_aet=calling_aet,
            sender=sender,
            instance_count=counts[series_uid],
        )
        for series_uid, each in first.items()
    }
