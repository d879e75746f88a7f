"""Versions of the rules: who changed what and when, what is different now, and the way back."""

from __future__ import annotations

from flask import flash, redirect, render_template, request
from werkzeug.wrappers import Response

from extensions.routing import forms, rulebook
from extensions.routing.portal.common import may_change, pages, tenant_session
from extensions.routing.portal.saving import save
from extensions.routing.rules import rules_diff
from extensions.routing.rules.rules_yaml import dump_rules
from gateway.access import Action
from gateway.needs import Needs

PER_PAGE = 50


@pages.get("/rules/history")
@Needs(Action.READ_ROUTING)
def show_history() -> str:
    """Every version, newest first."""
    before = forms.number_of(request.args.get("before", "0"), "before")
    with tenant_session() as session:
        found = rulebook.history(session, limit=PER_PAGE + 1, before=before or None)
        live = rulebook.live(session).version
    return render_template(
        "routing/history.html", found=found[:PER_PAGE], more=len(found) > PER_PAGE, live=live
    )


@pages.get("/rules/history/<int:version>")
@Needs(Action.READ_ROUTING)
def show_version(version: int) -> str:
    """One version: what it changed, what is different in the live one, and its text."""
    with tenant_session() as session:
        it = rulebook.get(session, version)
        before = rulebook.get(session, version - 1).rules if version > 1 else ()
        live = rulebook.live(session)
    return render_template(
        "routing/version.html",
        it=it,
        live=live,
        made=rules_diff.diff(before, it.rules),
        since=rules_diff.diff(it.rules, live.rules),
        text=dump_rules(it.rules),
        may_change=may_change(),
    )


@pages.post("/rules/history/<int:version>/restore")
@Needs(Action.CHANGE_ROUTING)
def restore_version(version: int) -> Response:
    """Make the rules of a version live again, as a new one."""
    with tenant_session() as session:
        old = rulebook.get(session, version)
        based_on = request.form.get("based_on", type=int, default=-1)
        note = f"Back to version {version}"
        saved = save(session, old.rules, based_on=based_on, note=note)
    flash(f"The rules of version {version} are live again, as version {saved.version}.")
    return redirect("/routing/rules", 303)
