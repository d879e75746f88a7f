"""Rules: the list in its order, and the form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import quote

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from extensions.routing import destinations, rulebook, tryouts
from extensions.routing.portal.common import (
    may_change,
    pages,
    portal,
    tenant_session,
)
from extensions.routing.portal.rule_check import checked, rule_of, sent_form
from extensions.routing.portal.rule_text import editor
from extensions.routing.portal.saving import save
from extensions.routing.rules import editing, rule_form
from extensions.routing.rules.complaints import WrongRule
from extensions.routing.rules.condition_values import Operator
from extensions.routing.rules.rule import RuleDocument, Trigger
from extensions.routing.rules.rule_form import Row, RuleForm
from extensions.routing.rules.rules_yaml import dump_rules
from gateway.access import Action
from gateway.errors import Conflict, GatewayError, InvalidInput
from gateway.needs import Needs

_AS_TEXT = (Trigger.STUDY_COMPLETE, Trigger.BEFORE_STORAGE)
FIELDS = (
    "Modality",
    "StudyDescription",
    "SeriesDescription",
    "BodyPartExamined",
    "ProtocolName",
    "InstitutionName",
    "StationName",
    "Manufacturer",
    "ReferringPhysicianName",
    "PatientID",
    "AccessionNumber",
    "calling_aet",
    "instance_count",
    "time_of_day",
)


@pages.get("/rules")
@Needs(Action.READ_ROUTING)
def show_rules() -> str:
    """What is done with which studies."""
    with tenant_session() as session:
        book = rulebook.live(session)
        known = destinations.list_destinations(session)
        tried = tryouts.recent(session) if may_change() else []
    return render_template(
        "routing/rules.html", book=book, destinations=known, tried=tried, may_change=may_change()
    )


@pages.get("/rules/new", defaults={"rule_name": ""})
@pages.get("/rules/named/<rule_name>")
@Needs(Action.CHANGE_ROUTING)
def show_rule(
    rule_name: str, typed: RuleForm | None = None, error: GatewayError | None = None
) -> ResponseReturnValue:
    """The form of a rule, new or known."""
    with tenant_session() as session:
        book = rulebook.live(session)
        known = destinations.list_destinations(session)
    rule = editing.named(book.rules, rule_name) if rule_name else None
    if rule and not typed and rule_form.form_of(rule) is None:
        return redirect(f"/routing/rules/text/named/{quote(rule_name, safe='')}", 303)
    form = typed or (rule_form.form_of(rule) if rule else None) or RuleForm()
    page = render_template(
        "routing/rule.html",
        rule=rule,
        rule_name=rule_name,
        form=form,
        rows=form.rows or (Row(),),
        based_on=request.form.get("based_on", book.version),
        destinations=known,
        operators=list(Operator),
        triggers=[t for t in Trigger if t not in _AS_TEXT],
        fields=FIELDS,
        error=error,
        **(checked(form, rule_name) if rule or typed else {}),
    )
    return page, error.http_status if error else 200


@pages.post("/rules/new", defaults={"rule_name": ""})
@pages.post("/rules/named/<rule_name>")
@Needs(Action.CHANGE_ROUTING)
def save_rule(rule_name: str) -> ResponseReturnValue:
    """Create or change; each wrong condition is named with its cure."""
    form = RuleForm()
    try:
        form = sent_form()
        rule = rule_of(form)
        if request.form.get("then") == "text":
            return as_text(rule_name, rule)
        note = f"{'Changed' if rule_name else 'Added'} {rule.name}"
        _change(lambda rules: editing.put(rules, rule_name, rule), note)
    except (InvalidInput, Conflict) as error:
        if isinstance(error, WrongRule):
            error = rule_form.in_the_form(error)
        action = "change-rule" if rule_name else "create-rule"
        portal().record_failure(action, f"rule {form.name}", error.code)
        return show_rule(rule_name, form, error)
    flash(f"The rule {rule.name} is saved.")
    return redirect("/routing/rules", 303)


@pages.post("/rules/named/<rule_name>/switch")
@Needs(Action.CHANGE_ROUTING)
def switch_rule(rule_name: str) -> Response:
    """Switch a rule on or off and leave it else as it is."""
    on = request.form.get("enabled") == "yes"
    _change(
        lambda rules: editing.switch(rules, rule_name, on=on),
        f"Switched {rule_name} {'on' if on else 'off'}",
    )
    return redirect("/routing/rules", 303)


@pages.post("/rules/named/<rule_name>/move")
@Needs(Action.CHANGE_ROUTING)
def move_rule(rule_name: str) -> Response:
    """Have a rule looked at one place earlier or later."""
    by = -1 if request.form.get("direction") == "up" else 1
    _change(
        lambda rules: editing.move(rules, rule_name, by),
        f"Moved {rule_name} {'up' if by < 0 else 'down'}",
    )
    return redirect("/routing/rules", 303)


@pages.post("/rules/named/<rule_name>/delete")
@Needs(Action.CHANGE_ROUTING)
def delete_rule(rule_name: str) -> Response:
    """Remove a rule."""
    _change(lambda rules: editing.remove(rules, rule_name), f"Deleted {rule_name}")
    flash("The rule is deleted.")
    return redirect("/routing/rules", 303)


def as_text(rule_name: str, rule: RuleDocument) -> ResponseReturnValue:
    """The text of what the form says, to go on with."""
    with tenant_session() as session:
        return editor(dump_rules([rule]), rule_name, rulebook.live(session))


def _change(edit: Callable[[Sequence[RuleDocument]], tuple[RuleDocument, ...]], note: str) -> None:
    with tenant_session() as session:
        book = rulebook.live(session)
        based_on = request.form.get("based_on", type=int, default=book.version)
        save(session, edit(book.rules), based_on=based_on, note=note)
