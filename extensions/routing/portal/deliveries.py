"""Deliveries: the list, one of them, its release and its end."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from datetime import datetime
from io import StringIO
from itertools import batched
from typing import Any

from flask import Response, flash, redirect, render_template, request, stream_with_context, url_for
from flask.typing import ResponseReturnValue

from extensions.routing import destinations, forms, ledger, overview, replaying
from extensions.routing.portal.common import TONES, may_change, pages, portal, tenant_session, who
from gateway import studies
from gateway.access import Action
from gateway.errors import NotFound
from gateway.needs import Needs

PER_PAGE = 50
PER_PIECE = 200  # lines of an export
FILTERS = ("state", "destination", "rule", "cause", "since", "until")
COLUMNS = (
    "delivery_id", "study_instance_uid", "destination_name", "rule_name", "priority", "state",
    "total", "delivered", "verified", "failed", "cancelled", "attempts", "created_at", "updated_at",
)  # fmt: skip


@pages.get("/deliveries")
@Needs(Action.READ_ROUTING)
def show_deliveries() -> str:
    """What went where, what is under way, what failed and why."""
    wanted = forms.filter_of(request.args)
    page = forms.number_of(request.args.get("page", "1"), "page") or 1
    with tenant_session() as session:
        found = ledger.list_deliveries(
            session, wanted, limit=PER_PAGE + 1, offset=(page - 1) * PER_PAGE
        )
        counts = overview.count_states(session)
        places = [each.name for each in destinations.list_destinations(session)]
        names = overview.patients_of(session, [delivery.study_instance_uid for delivery in found])
        refusals = overview.refusals_of(session, [delivery.delivery_id for delivery in found])
    return render_template(
        "routing/deliveries.html",
        names=names,
        refusals=refusals,
        deliveries=found[:PER_PAGE],
        more=len(found) > PER_PAGE,
        page=page,
        state=wanted.state,
        places=places,
        given={name: value for name, value in request.args.items() if name in FILTERS and value},
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
    order = ("failed", "cancelled", "sending", "planned", "delivered", "verified")
    return render_template(
        "routing/delivery.html",
        it=delivery,
        name=names.get(delivery.study_instance_uid, ""),
        refusals=refusals,
        instances=sorted(instances, key=lambda instance: order.index(instance.state))[:200],
        tones=TONES,
        may_change=may_change(),
        may_cancel=any(instance.may_be_cancelled for instance in instances),
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


@pages.post("/deliveries/release")
@Needs(Action.CHANGE_ROUTING)
def release_deliveries() -> ResponseReturnValue:
    """Try again what failed of the deliveries that a filter means."""
    wanted = forms.filter_of(request.form)
    with tenant_session() as session:
        number = ledger.release_all(session, wanted, **who())
    flash(f"{number} deliveries are tried again." if number else "Nothing of it has failed.")
    given: dict[str, Any] = {name: request.form[name] for name in FILTERS if request.form.get(name)}
    return redirect(url_for("routing.show_deliveries", **given), 303)


@pages.get("/deliveries.csv")
@Needs(Action.READ_ROUTING)
def export_deliveries() -> ResponseReturnValue:
    """The list by the same filter, all of it, as CSV; studies by UID, no names."""
    portal().tenant()  # raises before the answer has begun
    wanted = forms.filter_of(request.args)
    headers = {"Content-Disposition": "attachment; filename=deliveries.csv"}
    return Response(stream_with_context(_csv(wanted)), mimetype="text/csv", headers=headers)


@pages.get("/deliveries/instances.csv")
@Needs(Action.READ_ROUTING)
def export_instances() -> ResponseReturnValue:
    """Each instance of the deliveries by the same filter: where it is, since when, or why not."""
    portal().tenant()  # raises before the answer has begun
    lines = _instances_csv(forms.filter_of(request.args))
    headers = {"Content-Disposition": "attachment; filename=instances.csv"}
    return Response(stream_with_context(lines), mimetype="text/csv", headers=headers)


def _instances_csv(wanted: ledger.Filter) -> Iterator[str]:
    yield _lines([overview.INSTANCE_COLUMNS])
    with tenant_session() as session:
        for some in batched(overview.every_instance(session, wanted), PER_PIECE, strict=False):
            yield _lines([list(row.values()) for row in some])


def _csv(wanted: ledger.Filter) -> Iterator[str]:
    yield _lines([[*COLUMNS, "cause"]])
    with tenant_session() as session:
        for some in batched(ledger.every_delivery(session, wanted), ledger.PORTION, strict=False):
            refusals = overview.refusals_of(session, [each.delivery_id for each in some])
            for each in some:
                cause = refusals.get(each.delivery_id) or each.last_error or each.held
                yield _lines([[getattr(each, name) for name in COLUMNS] + [cause]])


def _lines(rows: Sequence[Sequence[object]]) -> str:
    lines = StringIO()
    csv.writer(lines).writerows([_cell(value) for value in row] for row in rows)
    return lines.getvalue()


@pages.post("/studies/<uid>/replay")
@Needs(Action.CHANGE_ROUTING)
def replay_study(uid: str) -> ResponseReturnValue:
    """Send a study to a destination again."""
    number = forms.number_of(request.form.get("destination", ""), "destination")
    with tenant_session() as session:
        if studies.find(session, uid) is None:
            raise NotFound(f"Study {uid}.")
        replaying.request(session, uid, number, transforms=portal().actions.transforms, **who())
    flash("The study is sent again.")
    return redirect(f"/studies/{uid}", 303)


def _cell(value: object) -> str:
    """Text that a spreadsheet does not take for a formula."""
    text = value.isoformat() if isinstance(value, datetime) else str(value or "")
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t")) else text


def _done(number: int) -> ResponseReturnValue:
    if "HX-Request" in request.headers:
        return "", 204, {"HX-Trigger": "released"}
    return redirect(f"/routing/deliveries/{number}", 303)
