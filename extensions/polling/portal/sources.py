"""Sources: the list, the form of each kind, its switches, and the connection test."""

from __future__ import annotations

from collections.abc import Sequence

from flask import flash, redirect, render_template, request
from flask import session as cookie
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from extensions.polling import connection, inbox, memory, sources
from extensions.polling.portal import form as forms
from extensions.polling.portal.common import (
    encryption_key,
    may_change,
    pages,
    portal,
    tenant_session,
    who,
)
from extensions.polling.sources import Source
from gateway import tenancy
from gateway.access import Action
from gateway.errors import Conflict, GatewayError, InvalidInput
from gateway.needs import Needs
from gateway.portal import Badge
from gateway.reaching import Check

TEST_NEXT = "test-source"
LIST = "/polling/sources"


@pages.get("/sources")
@Needs(Action.READ_ROUTING)
def show_sources() -> str:
    """Where studies are fetched from, what the last run found, and what is wrong."""
    with tenant_session() as session:
        found = sources.list_sources(session)
        counts = memory.counts(session)
    return render_template(
        "polling/sources.html",
        found=found,
        counts=counts,
        kinds=forms.KINDS,
        badges={source.source_id: badge_of(source) for source in found},
        may_change=may_change(),
    )


@pages.get("/sources/new", defaults={"number": 0})
@pages.get("/sources/<int:number>")
@Needs(Action.CHANGE_ROUTING)
def show_source(
    number: int,
    error: GatewayError | None = None,
    checks: Sequence[Check] | None = None,
) -> ResponseReturnValue:
    """The form of a source, new or known, and what failed of it."""
    with tenant_session() as session:
        known = sources.get_source(session, number) if number else None
        failed = memory.failed(session, number) if number else []
        titles = [t for tenant in tenancy.list_tenants(session) for t in tenant.ae_titles]
    kind = known.kind if known else request.values.get("kind", "dicomweb")
    values: dict[str, object] = {"name": known.name, **forms.shown(known.settings)} if known else {}
    if error and "name" in request.form:
        values = dict(request.form)
    place, schedule = forms.fields_of(kind, values, titles, is_known=known is not None)
    page = render_template(
        "polling/source.html",
        known=known,
        kind=kind,
        kinds=forms.KINDS,
        name=values.get("name", ""),
        place=place,
        schedule=schedule,
        folder=inbox.folder_in_words(portal().tenant()),
        failed=failed,
        error=error,
        checks=checks,
        badge=badge_of(known) if known else None,
        test_now=known is not None and cookie.pop(TEST_NEXT, 0) == number,
    )
    return page, error.http_status if error else 200


@pages.post("/sources/new", defaults={"number": 0})
@pages.post("/sources/<int:number>")
@Needs(Action.CHANGE_ROUTING)
def save_source(number: int) -> ResponseReturnValue:
    """Create or change; what is wrong is said above the form, which keeps what was typed."""
    form = request.form
    name = form.get("name", "")
    try:
        with tenant_session() as session:
            if number:
                known = sources.get_source(session, number)
                saved = sources.update_source(
                    session,
                    number,
                    name=name,
                    kind=known.kind,
                    settings=forms.settings_of(form, known.kind),
                    enabled=known.enabled,
                    encryption_key=encryption_key(),
                    **who(),
                )
            else:
                kind = form.get("kind", "")
                saved = sources.create_source(
                    session,
                    name=name,
                    kind=kind,
                    settings=forms.settings_of(form, kind),
                    encryption_key=encryption_key(),
                    **who(),
                )
    except (InvalidInput, Conflict) as error:
        portal().record_failure(
            "change-source" if number else "create-source", f"source {name}", error.code
        )
        if not number and form.get("kind") not in forms.KINDS:
            raise
        return show_source(number, error)
    flash(f"{saved.name} is saved.")
    if form.get("then") == "test":
        cookie[TEST_NEXT] = saved.source_id  # the page posts it: a link must not start one
        return redirect(f"{LIST}/{saved.source_id}", 303)
    return redirect(LIST, 303)


@pages.post("/sources/<int:number>/test")
@Needs(Action.CHANGE_ROUTING)
def test_source(number: int) -> ResponseReturnValue:
    """Try to search it: named checks, as a part of the page or (without htmx) the page."""
    with tenant_session() as session:
        source = sources.get_source(session, number)
    data = portal().settings.data
    checks = connection.test_connection(source, encryption_key(), data)
    if failed := next((check for check in checks if not check.passed), None):
        portal().record_failure("test-source", f"source {source.name}", failed.name)
    if "HX-Request" in request.headers:
        return render_template("polling/checks.html", checks=checks)
    return show_source(number, checks=checks)


@pages.post("/sources/<int:number>/run")
@Needs(Action.CHANGE_ROUTING)
def run_source(number: int) -> Response:
    """Run it now, and try again what failed."""
    with tenant_session() as session:
        sources.hurry_source(session, number, **who())
    return redirect(LIST, 303)


@pages.post("/sources/<int:number>/switch")
@Needs(Action.CHANGE_ROUTING)
def switch_source(number: int) -> Response:
    """Pause or resume it."""
    enabled = request.form.get("enabled") == "yes"
    with tenant_session() as session:
        sources.switch_source(session, number, enabled=enabled, **who())
    return redirect(LIST, 303)


@pages.post("/sources/<int:number>/delete")
@Needs(Action.CHANGE_ROUTING)
def delete_source(number: int) -> Response:
    """Remove a source; its studies stay."""
    with tenant_session() as session:
        sources.delete_source(session, number, **who())
    flash("The source is deleted.")
    return redirect(LIST, 303)


def badge_of(source: Source) -> Badge:
    """The state in a few words."""
    if not source.enabled:
        return Badge("paused")
    if source.is_running:
        return Badge("running", "busy")
    if source.failures:
        return Badge("in trouble", "bad")
    return Badge("on", "good") if source.last_run_at else Badge("not run yet")
