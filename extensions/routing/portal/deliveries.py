"""Deliveries: the list, one of them, its release and its end."""

from __future__ import annotations

from flask import redirect, render_template, request
from flask.typing import ResponseReturnValue

from extensions.routing import forms, ledger, overview
from extensions.routing.portal.common import TONES, may_change, pages, tenant_session, who
from gateway.access import Action
from gateway.needs import Needs

PER_PAGE = 50


@pages.get("/deliveries")
@Needs(Action.READ_ROUTING)
def show_deliveries() -> str:
    """What went where, what is under way, what failed and why."""
    wanted = request.args.get("state", "")
    state = next((known for known in ledger.STATES if known == wanted), None)
    page = forms.number_of(request.args.get("page", "1"), "page") or 1
    with tenant_session() as session:
        found = ledger.list_deliveries(
            session, state=state, limit=PER_PAGE + 1, offset=(page - 1) * PER_PAGE
        )
        counts = overview.count_states(session)
        names = overview.patients_of(session, [delivery.study_instance_uid for delivery in found])
        refusals = overview.refusals_of(session, [delivery.delivery_id for delivery in found])
    return render_template(
        "routing/deliveries.html",
        names=names,
        refusals=refusals,
        deliveries=found[:PER_PAGE],
        more=len(found) > PER_PAGE,
        page=page,
        state=state,
        counts=counts,
        states=ledger.STATES,
        tones=TONES,
        may_change=may_change(),
    )


@pages.get("/deliveries/<int:number>")
@Needs(Action.READ_ROUTING)
def show_delivery(number: int) -> str:
    """One delivery: why it was planned, and each instance that is not there yet."""
    with tenant_session() as session:
        delivery = ledger.get_delivery(session, number)
        instances = ledger.instances_of(session, number)
        names = overview.patients_of(session, [delivery.study_instance_uid])
        refusals = overview.refusals_of(session, [number])
    order = ("failed", "sending", "planned", "delivered")
    return render_template(
        "routing/delivery.html",
        it=delivery,
        name=names.get(delivery.study_instance_uid, ""),
        refusals=refusals,
        instances=sorted(instances, key=lambda instance: order.index(instance.state))[:200],
        tones=TONES,
        may_change=may_change(),
    )


@pages.post("/deliveries/<int:number>/release")
@Needs(Action.CHANGE_ROUTING)
def release_delivery(number: int) -> ResponseReturnValue:
    """Try again now what failed or waits; a page that shows it refreshes itself."""
    with tenant_session() as session:
        ledger.release(session, number, **who())
    return _done(number)


@pages.post("/deliveries/<int:number>/cancel")
@Needs(Action.CHANGE_ROUTING)
def cancel_delivery(number: int) -> ResponseReturnValue:
    """Send nothing more of it; its study may then be deleted."""
    with tenant_session() as session:
        ledger.cancel(session, number, **who())
    return _done(number)


def _done(number: int) -> ResponseReturnValue:
    if "HX-Request" in request.headers:
        return "", 204, {"HX-Trigger": "released"}
    return redirect(f"/routing/deliveries/{number}", 303)
