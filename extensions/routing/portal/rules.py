"""Rules: the list and the form."""

from __future__ import annotations

from functools import partial

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from extensions.routing import destinations, forms, rulebook
from extensions.routing.portal.common import may_change, pages, record_failure, tenant_session, who
from extensions.routing.rules import Operator
from gateway.access import Action
from gateway.errors import Conflict, GatewayError, InvalidInput

TAGS = (
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
)


@pages.get("/rules")
def show_rules() -> str:
    """Which studies are forwarded."""
    with tenant_session(Action.READ_ROUTING) as session:
        found = rulebook.list_rules(session)
        known = destinations.list_destinations(session)
    return render_template(
        "routing/rules.html", found=found, destinations=known, may_change=may_change()
    )


@pages.get("/rules/new", defaults={"number": 0})
@pages.get("/rules/<int:number>")
def show_rule(number: int, error: GatewayError | None = None) -> ResponseReturnValue:
    """The form of a rule, new or known."""
    with tenant_session(Action.CHANGE_ROUTING) as session:
        rule = rulebook.get_rule(session, number) if number else None
        known = destinations.list_destinations(session)
    conditions = [c.as_json() for c in rule.conditions] if rule else []
    values: dict[str, object] = {"enabled": "yes"}
    if rule:
        values = {"name": rule.name, "destination": str(rule.destination_id)}
        values["enabled"] = "yes" if rule.enabled else ""
    if error:
        values, conditions = dict(request.form), _conditions()
    page = render_template(
        "routing/rule.html",
        rule=rule,
        values=values,
        conditions=conditions or [{}],
        destinations=known,
        operators=list(Operator),
        tags=TAGS,
        error=error,
    )
    return page, error.http_status if error else 200


@pages.post("/rules/new", defaults={"number": 0})
@pages.post("/rules/<int:number>")
def save_rule(number: int) -> ResponseReturnValue:
    """Create or change; each wrong condition is named with its cure."""
    form = request.form
    try:
        with tenant_session(Action.CHANGE_ROUTING) as session:
            name, conditions = form.get("name", ""), _conditions()
            target = forms.number_of(form.get("destination", ""), "destination")
            write = (
                partial(rulebook.update_rule, rule_id=number) if number else rulebook.create_rule
            )
            write(
                session,
                name=name,
                conditions=conditions,
                destination_id=target,
                enabled=form.get("enabled") == "yes",
                **who(),
            )
    except (InvalidInput, Conflict) as error:
        action = "change-rule" if number else "create-rule"
        record_failure(action, f"rule {form.get('name', '')}", error.code)
        return show_rule(number, error)
    flash(f"The rule {name} is saved.")
    return redirect("/routing/rules", 303)


@pages.post("/rules/<int:number>/switch")
def switch_rule(number: int) -> Response:
    """Switch a rule on or off and leave it else as it is."""
    with tenant_session(Action.CHANGE_ROUTING) as session:
        rule = rulebook.get_rule(session, number)
        rulebook.update_rule(
            session,
            number,
            name=rule.name,
            conditions=[c.as_json() for c in rule.conditions],
            destination_id=rule.destination_id,
            enabled=request.form.get("enabled") == "yes",
            **who(),
        )
    return redirect("/routing/rules", 303)


@pages.post("/rules/<int:number>/delete")
def delete_rule(number: int) -> Response:
    """Remove a rule."""
    with tenant_session(Action.CHANGE_ROUTING) as session:
        rulebook.delete_rule(session, number, **who())
    flash("The rule is deleted.")
    return redirect("/routing/rules", 303)


def _conditions() -> list[dict[str, str]]:
    form = request.form
    return forms.conditions_of(form.getlist("tag"), form.getlist("operator"), form.getlist("value"))
