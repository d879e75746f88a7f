"""Routing's pages: destinations, rules and deliveries, and what they add to the portal's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import ClassVar, cast

from flask import Blueprint, current_app, redirect, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from extensions.routing import connection, destinations, forms, ledger, overview, rulebook
from extensions.routing.rules import Operator
from gateway.access import Action
from gateway.db import Session
from gateway.errors import Conflict, GatewayError, InvalidInput
from gateway.hookspecs import hookimpl
from gateway.portal import Badge, Figure, PortalContext, Sample, StudySection, Tone

TONES: Mapping[str, Tone] = {
    "waiting": "plain",
    "planned": "plain",
    "sending": "busy",
    "delivered": "good",
    "failed": "bad",
}
PER_PAGE = 50
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


class RoutingPages(Blueprint):
    """The blueprint, and what of it stands in the menu."""

    navigation: ClassVar[Sequence[tuple[str, str]]] = (
        ("Deliveries", "show_deliveries"),
        ("Rules", "show_rules"),
        ("Destinations", "show_destinations"),
    )


pages = RoutingPages("routing", __name__, template_folder="templates")


def _portal() -> PortalContext:
    return cast("PortalContext", current_app.extensions["argonath"])


@contextmanager
def _session(action: Action) -> Iterator[Session]:
    with _portal().database.tenant_session(_portal().tenant(action)) as session:
        yield session


def _who() -> dict[str, str]:
    return {"actor": _portal().principal().name, "origin": _portal().origin()}


def _may_change() -> bool:
    return _portal().may(Action.CHANGE_ROUTING)


# Destinations -------------------------------------------------------------------------------


@pages.get("/destinations")
def show_destinations() -> str:
    """Where studies can go."""
    with _session(Action.READ_ROUTING) as session:
        found = destinations.list_destinations(session)
    return render_template("routing/destinations.html", found=found, may_change=_may_change())


@pages.get("/destinations/new", defaults={"number": 0})
@pages.get("/destinations/<int:number>")
def show_destination(
    number: int,
    error: GatewayError | None = None,
    checks: Sequence[connection.Check] | None = None,
) -> ResponseReturnValue:
    """The form of a destination, new or known."""
    with _session(Action.CHANGE_ROUTING) as session:
        known = destinations.get_destination(session, number) if number else None
    values: dict[str, object] = {"kind": "dimse", "port": 104, "calling_aet": "ARGONATH"}
    if known:
        values = {"kind": known.kind, "name": known.name, "enabled": known.enabled}
        values |= known.settings.model_dump(exclude={"token", "password"})
    if error and "name" in request.form:
        values = dict(request.form)
    page = render_template(
        "routing/destination.html", known=known, values=values, error=error, checks=checks
    )
    return page, error.http_status if error else 200


@pages.post("/destinations/new", defaults={"number": 0})
@pages.post("/destinations/<int:number>")
def save_destination(number: int) -> ResponseReturnValue:
    """Create or change; what is wrong is said above the form, which keeps what was typed."""
    form = request.form
    try:
        with _session(Action.CHANGE_ROUTING) as session:
            kind = form.get("kind", "")
            given = {"name": form.get("name", ""), "kind": kind}
            settings, enabled = forms.settings_of(form, kind), form.get("enabled") == "yes"
            if number:
                saved = destinations.update_destination(
                    session, number, **given, settings=settings, enabled=enabled, **_who()
                )
            else:
                saved = destinations.create_destination(
                    session, **given, settings=settings, enabled=enabled, **_who()
                )
    except (InvalidInput, Conflict) as error:
        return show_destination(number, error)
    if form.get("then") == "test":
        return redirect(f"/routing/destinations/{saved.destination_id}/test", 303)
    return redirect("/routing/destinations", 303)


@pages.get("/destinations/<int:number>/test")
def test_destination(number: int) -> ResponseReturnValue:
    """Try to reach it: named checks, above its form."""
    with _session(Action.CHANGE_ROUTING) as session:
        destination = destinations.get_destination(session, number)
    return show_destination(number, checks=connection.test_connection(destination.settings))


@pages.post("/destinations/<int:number>/delete")
def delete_destination(number: int) -> ResponseReturnValue:
    """Remove a destination that no rule uses."""
    try:
        with _session(Action.CHANGE_ROUTING) as session:
            destinations.delete_destination(session, number, **_who())
    except Conflict as error:
        return show_destination(number, error)
    return redirect("/routing/destinations", 303)


# Rules --------------------------------------------------------------------------------------


@pages.get("/rules")
def show_rules() -> str:
    """Which studies are forwarded."""
    with _session(Action.READ_ROUTING) as session:
        found = rulebook.list_rules(session)
        known = destinations.list_destinations(session)
    return render_template(
        "routing/rules.html", found=found, destinations=known, may_change=_may_change()
    )


@pages.get("/rules/new", defaults={"number": 0})
@pages.get("/rules/<int:number>")
def show_rule(number: int, error: GatewayError | None = None) -> ResponseReturnValue:
    """The form of a rule, new or known."""
    with _session(Action.CHANGE_ROUTING) as session:
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
        with _session(Action.CHANGE_ROUTING) as session:
            name, conditions = form.get("name", ""), _conditions()
            target = forms.number_of(form.get("destination", ""), "destination")
            enabled = form.get("enabled") == "yes"
            if number:
                rulebook.update_rule(
                    session,
                    number,
                    name=name,
                    conditions=conditions,
                    destination_id=target,
                    enabled=enabled,
                    **_who(),
                )
            else:
                rulebook.create_rule(
                    session,
                    name=name,
                    conditions=conditions,
                    destination_id=target,
                    enabled=enabled,
                    **_who(),
                )
    except (InvalidInput, Conflict) as error:
        return show_rule(number, error)
    return redirect("/routing/rules", 303)


@pages.post("/rules/<int:number>/switch")
def switch_rule(number: int) -> Response:
    """Switch a rule on or off and leave it else as it is."""
    with _session(Action.CHANGE_ROUTING) as session:
        rule = rulebook.get_rule(session, number)
        rulebook.update_rule(
            session,
            number,
            name=rule.name,
            conditions=[c.as_json() for c in rule.conditions],
            destination_id=rule.destination_id,
            enabled=request.form.get("enabled") == "yes",
            **_who(),
        )
    return redirect("/routing/rules", 303)


@pages.post("/rules/<int:number>/delete")
def delete_rule(number: int) -> Response:
    """Remove a rule."""
    with _session(Action.CHANGE_ROUTING) as session:
        rulebook.delete_rule(session, number, **_who())
    return redirect("/routing/rules", 303)


def _conditions() -> list[dict[str, str]]:
    form = request.form
    return forms.conditions_of(form.getlist("tag"), form.getlist("operator"), form.getlist("value"))


# Deliveries ---------------------------------------------------------------------------------


@pages.get("/deliveries")
def show_deliveries() -> str:
    """What went where, what is under way, what failed and why."""
    wanted = request.args.get("state", "")
    state = next((known for known in ledger.STATES if known == wanted), None)
    page = forms.number_of(request.args.get("page", "1"), "page") or 1
    with _session(Action.READ_ROUTING) as session:
        found = ledger.list_deliveries(
            session, state=state, limit=PER_PAGE + 1, offset=(page - 1) * PER_PAGE
        )
        counts = overview.count_states(session)
        names = overview.patients_of(session, [delivery.study_instance_uid for delivery in found])
    return render_template(
        "routing/deliveries.html",
        names=names,
        deliveries=found[:PER_PAGE],
        more=len(found) > PER_PAGE,
        page=page,
        state=state,
        counts=counts,
        states=ledger.STATES,
        tones=TONES,
        may_change=_may_change(),
    )


@pages.get("/deliveries/<int:number>")
def show_delivery(number: int) -> str:
    """One delivery: why it was planned, and each instance that is not there yet."""
    with _session(Action.READ_ROUTING) as session:
        delivery = ledger.get_delivery(session, number)
        instances = ledger.instances_of(session, number)
    order = ("failed", "sending", "planned", "delivered")
    return render_template(
        "routing/delivery.html",
        it=delivery,
        instances=sorted(instances, key=lambda instance: order.index(instance.state))[:200],
        tones=TONES,
        may_change=_may_change(),
    )


@pages.post("/deliveries/<int:number>/release")
def release_delivery(number: int) -> Response:
    """Try again now what failed or waits."""
    with _session(Action.CHANGE_ROUTING) as session:
        ledger.release(session, number, **_who())
    return redirect(f"/routing/deliveries/{number}", 303)


# What the portal's own pages show of us ------------------------------------------------------


@hookimpl
def portal_blueprint() -> Blueprint:
    """Every page, under /routing."""
    return pages


@hookimpl
def study_badges(session: Session, study_uids: Sequence[str]) -> dict[str, list[Badge]]:
    """Each study's deliveries, counted by state."""
    return {
        uid: [Badge(f"{number} {state}", TONES[state]) for state, number in counts.items()]
        for uid, counts in overview.states_of_studies(session, study_uids).items()
    }


@hookimpl
def study_section(session: Session, study_uid: str) -> StudySection:
    """The study's deliveries with their progress."""
    found = ledger.deliveries_of_study(session, study_uid)
    html = render_template("routing/study_section.html", deliveries=found, tones=TONES)
    return StudySection("Deliveries", html)


@hookimpl
def overview_figures(session: Session) -> list[Figure]:
    """What is under way, and what needs an admin."""
    counts = overview.count_states(session)
    waiting, sending, failed = (counts.get(state, 0) for state in ("waiting", "sending", "failed"))
    url = "/routing/deliveries?state="
    return [
        Figure("deliveries waiting", waiting, "plain", url + "waiting"),
        Figure("deliveries sending", sending, "busy" if sending else "plain", url + "sending"),
        Figure("deliveries failed", failed, "bad" if failed else "plain", url + "failed"),
    ]


@hookimpl
def portal_metrics(session: Session) -> list[Sample]:
    """Deliveries by state, over all tenants."""
    return [
        Sample("argonath_deliveries", "Deliveries by state.", number, {"state": state})
        for state, number in overview.count_states(session).items()
    ]
