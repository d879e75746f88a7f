"""Destinations: the list, the form, and the connection test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flask import flash, redirect, render_template, request
from flask import session as cookie
from flask.typing import ResponseReturnValue

from extensions.routing import destinations, forms
from extensions.routing.destination_settings import SECRET_FIELDS
from extensions.routing.portal.common import (
    encryption_key,
    may_change,
    pages,
    portal,
    tenant_session,
    who,
)
from extensions.routing.sending import connection
from extensions.routing.sending.limits import Limits
from extensions.routing.sending.name_pattern import STANDARD
from gateway.access import Action
from gateway.errors import Conflict, GatewayError, InvalidInput
from gateway.needs import Needs
from gateway.reaching import Check

TEST_NEXT = "test-destination"
KINDS: Mapping[str, str] = {
    "dimse": "DICOM: C-STORE to an AE title",
    "dicomweb": "DICOMweb: STOW-RS to an address",
    "folder": "Files in a folder of the gateway",
    "s3": "Objects in an S3 bucket",
}


@pages.get("/destinations")
@Needs(Action.READ_ROUTING)
def show_destinations() -> str:
    """Where studies can go."""
    with tenant_session() as session:
        found = destinations.list_destinations(session)
    return render_template(
        "routing/destinations.html", found=found, kinds=KINDS, may_change=may_change()
    )


@pages.get("/destinations/new", defaults={"number": 0})
@pages.get("/destinations/<int:number>")
@Needs(Action.CHANGE_ROUTING)
def show_destination(
    number: int,
    error: GatewayError | None = None,
    checks: Sequence[Check] | None = None,
) -> ResponseReturnValue:
    """The form of a destination, new or known."""
    with tenant_session() as session:
        known = destinations.get_destination(session, number) if number else None
    values: dict[str, object] = {
        "kind": "dimse",
        "port": 104,
        "calling_aet": "ARGONATH",
        "region": "us-east-1",
        "pattern": STANDARD,
        **Limits().model_dump(),
    }
    if known:
        values |= {"kind": known.kind, "name": known.name, "enabled": known.enabled}
        values |= known.settings.model_dump(exclude=set(SECRET_FIELDS))
        values |= known.limits.model_dump()
    if error and "name" in request.form:
        values = dict(request.form)
    page = render_template(
        "routing/destination.html",
        known=known,
        values=values,
        kinds=KINDS,
        error=error,
        checks=checks,
        test_now=known is not None and cookie.pop(TEST_NEXT, 0) == number,
    )
    return page, error.http_status if error else 200


@pages.post("/destinations/new", defaults={"number": 0})
@pages.post("/destinations/<int:number>")
@Needs(Action.CHANGE_ROUTING)
def save_destination(number: int) -> ResponseReturnValue:
    """Create or change; what is wrong is said above the form, which keeps what was typed."""
    form = request.form
    try:
        with tenant_session() as session:
            kind = form.get("kind", "")
            given: dict[str, Any] = {
                "name": form.get("name", ""),
                "kind": kind,
                "settings": forms.settings_of(form, kind),
                "limits": forms.limits_of(form),
                "enabled": form.get("enabled") == "yes",
                "encryption_key": encryption_key(),
                **who(),
            }
            if number:
                saved = destinations.update_destination(session, number, **given)
            else:
                saved = destinations.create_destination(session, **given)
    except (InvalidInput, Conflict) as error:
        action = "change-destination" if number else "create-destination"
        portal().record_failure(action, f"destination {form.get('name', '')}", error.code)
        return show_destination(number, error)
    flash(f"{saved.name} is saved.")
    if form.get("then") == "test":
        cookie[TEST_NEXT] = saved.destination_id  # the page posts it: a link must not start one
        return redirect(f"/routing/destinations/{saved.destination_id}", 303)
    return redirect("/routing/destinations", 303)


@pages.post("/destinations/<int:number>/test")
@Needs(Action.CHANGE_ROUTING)
def test_destination(number: int) -> ResponseReturnValue:
    """Try to reach it: named checks, as a part of the page or (without htmx) the page."""
    with tenant_session() as session:
        destination = destinations.get_destination(session, number)
    opened = destinations.open_settings(destination, encryption_key())
    checks = connection.test_connection(opened, portal().settings.export_folder(portal().tenant()))
    if failed := next((check for check in checks if not check.passed), None):
        portal().record_failure("test-destination", f"destination {destination.name}", failed.name)
    if "HX-Request" in request.headers:
        return render_template("routing/checks.html", checks=checks)
    return show_destination(number, checks=checks)


@pages.post("/destinations/<int:number>/enabled")
@Needs(Action.CHANGE_ROUTING)
def pause_destination(number: int) -> ResponseReturnValue:
    """Pause it, or go on with what waits."""
    with tenant_session() as session:
        enabled = request.form.get("enabled") == "yes"
        destinations.set_enabled(session, number, enabled=enabled, **who())
    return redirect("/routing/destinations", 303)


@pages.post("/destinations/<int:number>/delete")
@Needs(Action.CHANGE_ROUTING)
def delete_destination(number: int) -> ResponseReturnValue:
    """Remove a destination that no rule uses."""
    try:
        with tenant_session() as session:
            destinations.delete_destination(session, number, **who())
    except Conflict as error:
        return show_destination(number, error)
    flash("The destination is deleted.")
    return redirect("/routing/destinations", 303)
