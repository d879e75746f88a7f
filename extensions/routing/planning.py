"""From a study that has arrived, or is arriving, to what the rules do with it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from extensions.routing import facts_store, labels, notify, rulebook, runs
from extensions.routing.rules import facts
from extensions.routing.rules.catching import WHEN_STABLE, WHILE_ARRIVING, caught
from extensions.routing.rules.facts import Facts
from extensions.routing.rules.rule import Trigger
from gateway import results, senders, studies
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
    """Begin one rule, also again, because a person asks for it, if its conditions are met."""
    _plan(context, study_uid, (*WHEN_STABLE, Trigger.ON_DEMAND), asked_for=rule_name)


def result_is_noted(context: TaskContext, study_uid: str) -> None:
    """Begin the rules that look at results, if they apply now; no other."""
    with context.database.tenant_session(context.tenant_id) as session:
        study = studies.find(session, study_uid)
        rules = rulebook.live(session).rules
    if study is None or not any(rule.looks_at_results for rule in rules):
        return
    stable = study["state"] == "stable"  # if not yet, it will be told
    triggers = WHEN_STABLE if stable else WHILE_ARRIVING
    _plan(context, study_uid, triggers, arriving=not stable, about_results=True)


def _plan(
    context: TaskContext,
    study_uid: str,
    triggers: Iterable[Trigger],
    *,
    arriving: bool = False,
    asked_for: str = "",
    about_results: bool = False,
) -> None:
    with context.database.tenant_session(context.tenant_id) as session:
        book = rulebook.live(session)
        labelled = labels.of_study(session, study_uid)
        known = results.of_studies(session, [study_uid]).get(study_uid, {})
    try:
        series = facts_of_series(context, study_uid)
    except NotFound:
        return  # deleted meanwhile
    with context.database.tenant_session(context.tenant_id) as session:
        facts_store.keep(session, study_uid, series)
        growing = (
            facts_store.growing(session, study_uid, context.settings.stable_after_s)
            if arriving
            else None
        )
    rules = [rule for rule in book.rules if asked_for in {"", rule.name}]
    now = datetime.now().astimezone()
    catches = caught(
        rules,
        series,
        triggers=triggers,
        now=now,
        labels=labelled,
        results=known,
        growing=growing,
    )
    # All were looked at: one that has fired before may have stopped those after it.
    wanted = [it for it in catches if it.verdict.rule.looks_at_results or not about_results]
    with context.database.tenant_session(context.tenant_id) as session:
        for catch in wanted:
            rule = catch.verdict.rule
            begun = runs.begin(
                session,
                study_uid=study_uid,
                series_uid=catch.series_instance_uid,
                rule_name=rule.name,
                version=book.version,
                reason=catch.verdict.reason(),
                steps=rule.actions,
                priority=rule.priority,
                instances=catch.instances,
                asked=bool(asked_for),
            )
            if begun and asked_for:
                notify.forget(session, study_uid, catch.series_instance_uid, rule.name)


def facts_of_series(context: TaskContext, study_uid: str) -> dict[str, Facts]:
    """The facts of one instance of each series stand for the series."""
    heads = context.archive.heads_of(study_uid)
    with context.database.tenant_session(context.tenant_id) as session:
        sent = senders.of_study(session, study_uid)  # told before anything of a series is stored
    return {
        head.series_instance_uid: facts.of_series(
            head.metadata,
            calling_aet=sent.of(head.series_instance_uid).calling_aet,
            called_aet=sent.of(head.series_instance_uid).called_aet,
            sender=sent.of(head.series_instance_uid).address,
            instance_count=head.instance_count,
        )
        for head in heads
    }
