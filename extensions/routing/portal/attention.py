"""Where a person decides: rules and deliveries that are held or have failed; rules on demand."""

from __future__ import annotations

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue

from extensions.routing import forms, ledger, overview, rulebook, runs
from extensions.routing.portal.common import (
    RUN_TONES,
    TONES,
    may_change,
    pages,
    portal,
    tenant_session,
    who,
)
from extensions.routing.rules import editing
from extensions.routing.rules.rule import Trigger
from extensions.routing.rules.rule_words import action_words
from gateway import audit, studies
from gateway.access import Action
from gateway.errors import Conflict, InvalidInput, NotFound
from gateway.needs import Needs

PER_PAGE = 50


@pages.get("/rules/attention")
@Needs(Action.READ_ROUTING)
def show_attention() -> str:
    """What waits for a person: deliveries that are held, rules that are held or have failed."""
    page = forms.number_of(request.args.get("page", "1"), "page") or 1
    with tenant_session() as session:
        found = runs.needing_attention(session, limit=PER_PAGE + 1, offset=(page - 1) * PER_PAGE)
        held = ledger.list_deliveries(session, ledger.Filter("held"), limit=PER_PAGE + 1)
        shown = [run.study_instance_uid for run in found]
        shown += [delivery.study_instance_uid for delivery in held]
        names = overview.patients_of(session, shown)
    return render_template(
        "routing/attention.html",
        runs=found[:PER_PAGE],
        more=len(found) > PER_PAGE,
        page=page,
        names=names,
        run_tones=RUN_TONES,
        deliveries=held[:PER_PAGE],
        more_deliveries=len(held) > PER_PAGE,
        tones=TONES,
        words=action_words,
        may_change=may_change(),
    )


@pages.post("/rules/runs/<int:run_id>/release")
@Needs(Action.CHANGE_ROUTING)
def release_run(run_id: int) -> ResponseReturnValue:
    """Go on with the actions that are left."""
    with tenant_session() as session:
        runs.release(session, run_id, **who())
    return _done(run_id)


@pages.post("/rules/runs/<int:run_id>/discard")
@Needs(Action.CHANGE_ROUTING)
def discard_run(run_id: int) -> ResponseReturnValue:
    """Do nothing more of it; says why."""
    reason = request.form.get("reason", "").strip()
    with tenant_session() as session:
        runs.get_run(session, run_id)
        if not 0 < len(reason) <= 256:
            raise InvalidInput("reason: say in 1 to 256 characters why nothing more is done.")
        runs.discard(session, run_id, reason, **who())
    return _done(run_id)


@pages.post("/studies/<uid>/apply")
@Needs(Action.CHANGE_ROUTING)
def apply_rule(uid: str) -> ResponseReturnValue:
    """Begin a rule that a person asks for."""
    name = request.form.get("rule", "")
    tenant_id = portal().tenant()
    with tenant_session() as session:
        if studies.find(session, uid) is None:
            raise NotFound(f"Study {uid}.")
        rule = editing.named(rulebook.live(session).rules, name)
        if rule.trigger is Trigger.BEFORE_STORAGE or not rule.enabled:
            raise Conflict(f"The rule {name!r} is off, or for what is not stored yet.")
        runs.ask(session, uid, name)
        record = audit.Record(
            **who(),
            action="apply-rule",
            resource=f"study {uid}",
            verdict="allowed",
            tenant_id=tenant_id,
            detail=f"rule {name}",
        )
        audit.append(session, record)
    flash(f"The rule {name} is applied, if the study meets its conditions.")
    return redirect(f"/studies/{uid}", 303)


def _done(run_id: int) -> ResponseReturnValue:
    if "HX-Request" in request.headers:
        return "", 204, {"HX-Trigger": "released"}
    with tenant_session() as session:
        uid = runs.get_run(session, run_id).study_instance_uid
    return redirect(f"/studies/{uid}", 303)
