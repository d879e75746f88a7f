"""Deliveries: the list, one of them, and its release."""

from __future__ import annotations

from flask import redirect, render_template, request
from flask.typing import ResponseReturnValue

from extensions.routing import forms, ledger, overview
from extensions.routing.portal.common import TONES, may_change, pages, tenant_session, who
from gateway.access import Action

PER_PAGE = 50


@pages.get("/deliveries")
def show_deliveries() -> str:
    """What went where, what is under way, what failed and why."""
    wanted = request.args.get("state", "")
    state = next((known for known in ledger.STATES if known == wanted), None)
    page = forms.number_of(request.args.get("page", "1"), "page") or 1
    with tenant_session(Action.READ_ROUTING) as session:
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
def show_delivery(number: int) -> str:
    """One delivery: why it was planned, and each instance that is not there yet."""
    with tenant_session(Action.READ_ROUTING) as session:
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
def release_delivery(number: int) -> ResponseReturnValue:
    """Try again now what failed or waits; a page that shows it refreshes itself."""
    with tenant_session(Action.CHANGE_ROUTING) as session:
        ledger.release(session, number, **who())
    if "HX-Request" in request.headers:
        return "", 204, {"HX-Trigger": "released"}
    return redirect(f"/routing/deliveries/{number}", 303)
