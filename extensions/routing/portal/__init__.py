"""Routing's pages under /routing, and what they add to the portal's own."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Blueprint, render_template

from extensions.routing import (
    actions,
    facts_store,
    flow,
    labels,
    ledger,
    missing,
    overview,
    rulebook,
    runs,
    uses,
)
from extensions.routing import destinations as places
from extensions.routing.portal import (  # noqa: F401  their pages
    attention,
    crosswalks,
    deliveries,
    destinations,
    history,
    notifications,
    rule_check,
    rule_files,
    rule_text,
    rules,
    try_file,
    tryout,
)
from extensions.routing.portal.common import (
    RUN_TONES,
    STAGE_TONES,
    TONES,
    may_change,
    pages,
    portal,
)
from extensions.routing.rules.rule import Trigger
from gateway import studies
from gateway.actions import Action, Step
from gateway.db import Session
from gateway.hookspecs import hookimpl
from gateway.portal import Badge, Figure, Sample, StudySection


@hookimpl
def portal_blueprint() -> Blueprint:
    """Every page, under /routing."""
    return pages


@hookimpl
def rule_actions() -> Sequence[Action]:
    """What rules can do by routing itself."""
    return actions.ACTIONS


@hookimpl
def study_badges(session: Session, study_uids: Sequence[str]) -> dict[str, list[Badge]]:
    """Each study's deliveries, counted by state."""
    return {
        uid: [Badge(f"{number} {state}", TONES[state]) for state, number in counts.items()]
        for uid, counts in overview.states_of_studies(session, study_uids).items()
    }


@hookimpl
def study_section(session: Session, study_uid: str) -> StudySection:
    """The study's way through the rules, and its deliveries with their progress."""
    found = ledger.deliveries_of_study(session, study_uid)
    caught = runs.runs_of_study(session, study_uid)
    branches, others = flow.branches_of(caught, found, portal().actions.transforms)
    live = rulebook.live(session).rules
    html = render_template(
        "routing/study_section.html",
        study=studies.find(session, study_uid),
        labels=labels.of_study(session, study_uid),
        corrected=facts_store.corrected_series(session, study_uid),
        branches=branches,
        others=others,
        appliable=[
            rule.name
            for rule in live
            if rule.enabled and rule.trigger is not Trigger.BEFORE_STORAGE
        ],
        run_tones=RUN_TONES,
        stage_tones=STAGE_TONES,
        refusals=overview.refusals_of(session, [delivery.delivery_id for delivery in found]),
        places=places.list_destinations(session),
        tones=TONES,
        may_change=may_change(),
    )
    return StudySection("Rules and deliveries", html)


@hookimpl
def uses_of_step(session: Session, step: Step) -> list[str]:
    """Live rules, and studies and deliveries that are under way."""
    return uses.uses_of_step(session, step)


@hookimpl
def missing_of_step(session: Session, step: Step) -> list[str]:
    """Destinations, webhooks, crosswalk tables and their columns."""
    return missing.missing_of_step(session, step)


@hookimpl
def overview_figures(session: Session) -> list[Figure]:
    """What is under way, and what needs an admin."""
    counts = overview.count_states(session)
    waiting, sending, failed = (counts.get(state, 0) for state in ("waiting", "sending", "failed"))
    url = "/routing/deliveries?state="
    decide = "/routing/rules/attention"
    asked = runs.count_needing_attention(session) + counts.get("held", 0)
    down, destinations_url = overview.count_outages(session), "/routing/destinations"
    return [
        Figure("deliveries waiting", waiting, "plain", url + "waiting"),
        Figure("deliveries sending", sending, "busy" if sending else "plain", url + "sending"),
        Figure("deliveries failed", failed, "bad" if failed else "plain", url + "failed"),
        Figure("need a decision", asked, "bad" if asked else "plain", decide),
        Figure("destinations not answering", down, "bad" if down else "plain", destinations_url),
    ]


@hookimpl
def portal_metrics(session: Session) -> list[Sample]:
    """Deliveries by state, over all tenants."""
    return [
        Sample("argonath_deliveries", "Deliveries by state.", number, {"state": state})
        for state, number in overview.count_states(session).items()
    ]
