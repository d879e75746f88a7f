"""Who is asking, and what the page needs: both are settled before any view runs."""

from __future__ import annotations

from contextlib import suppress
from typing import cast

from flask import Flask, current_app, g, request

from gateway import access, correlation, routes, share_links
from gateway.access import Action, Resource
from gateway.bearer import TENANT_HEADER, Authenticator
from gateway.db import Session
from gateway.errors import GatewayError, NotAllowed, NotAuthenticated
from gateway.identity import Principal
from gateway.needs import Needs, Open
from gateway.portal import PortalContext

_NOTHING = Needs(Action.UNKNOWN_ROUTE)


class Undeclared(NotAllowed):
    """This page does not say what it needs, so it is closed to everybody.

    Whoever wrote it declares its needs above its view; see webapp/README.md.
    """


def context() -> PortalContext:
    """The portal's database, settings and present principal."""
    return cast("PortalContext", current_app.extensions["argonath"])


def authenticator() -> Authenticator:
    """Who finds the principal of a token."""
    return cast("Authenticator", current_app.extensions["argonath_authenticator"])


def principal() -> Principal:
    """Whoever sent this request; raises `NotAuthenticated`."""
    found: Principal | None = g.get("principal")
    if found is None:
        raise NotAuthenticated
    return found


def origin() -> str:
    """The address this request came from."""
    return request.remote_addr or ""


def base_url() -> str:
    """The portal's address, as people reach it."""
    return (context().settings.public_url or request.host_url).rstrip("/")


def token() -> str:
    """The key or session token that the request shows; empty when there is none."""
    return routes.token_of(
        request.headers.get("Authorization", ""), request.headers.get("Cookie", "")
    )


def tenant() -> str:
    """The tenant in which the principal works; see `PortalContext.tenant`."""
    return context().tenant()


def record_read(session: Session, resource: str, detail: str) -> None:
    """Audit that the visitor reads; of a page that refreshes itself, once in an hour."""
    if "HX-Request" in request.headers:
        row = session.execute(
            "SELECT at > now() - interval '1 hour' AS lately FROM audit "
            "WHERE actor = %s AND resource = %s AND action = %s AND detail = %s "
            "ORDER BY audit_id DESC LIMIT 1",
            [principal().name, resource, Action.READ_STUDY, detail],
        ).fetchone()
        if row is not None and row["lately"]:
            return
    context().record(session, Action.READ_STUDY, resource, tenant(), detail)


def install(app: Flask) -> None:
    """Ask before every page who opens it, and whether they may."""
    app.before_request(lambda: correlation.begin(request.headers.get(correlation.HEADER)))
    app.teardown_request(lambda _error: correlation.end())
    app.before_request(_enforce)


def undeclared(app: Flask) -> list[str]:
    """The endpoints that do not say what they need."""
    return sorted(name for name, view in app.view_functions.items() if Needs.of(view) is None)


def _enforce() -> None:
    view = current_app.view_functions.get(request.endpoint or "")
    if view is None:  # no such page: Flask says so
        return
    needs = Needs.of(view)
    if needs is None:
        with suppress(GatewayError):  # so that the audit can say who it was
            g.principal = _asking(_NOTHING)
        raise Undeclared
    if needs.what is Open.TO_ALL:
        return
    g.principal = who = _asking(needs)
    if isinstance(needs.what, Action):
        # Whoever came by a link has no tenant; the policy binds them to their study.
        resource = None if who.study_uid is not None else Resource(who.tenant_id)
        access.require(who, needs.what, resource)


def _asking(needs: Needs) -> Principal:
    if shown := token():
        return authenticator()(shown, request.headers.get(TENANT_HEADER, ""))
    if needs.by_link and visit():
        return share_links.visitor(context().database, visit())
    raise NotAuthenticated


def visit() -> str:
    """The token of the visit by a link that the request shows; empty when there is none."""
    return routes.visit_of(request.headers.get("Cookie", ""))
