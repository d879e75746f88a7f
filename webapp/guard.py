"""Who is asking: every page needs a principal unless it says that it is public."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from flask import Flask, current_app, g, request

from gateway import correlation, routes, share_links
from gateway.access import Action
from gateway.bearer import TENANT_HEADER, Authenticator
from gateway.errors import NotAuthenticated
from gateway.identity import Principal
from gateway.portal import PortalContext


def context() -> PortalContext:
    """The portal's database, settings and present principal."""
    return cast("PortalContext", current_app.extensions["argonath"])


def authenticator() -> Authenticator:
    """Who finds the principal of a token."""
    return cast("Authenticator", current_app.extensions["argonath_authenticator"])


def public[View: Callable[..., Any]](view: View) -> View:
    """Mark a page that anybody may open."""
    view.is_public = True  # type: ignore[attr-defined]
    return view


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


def tenant(action: Action) -> str:
    """The tenant on which the principal may do `action`; see `PortalContext.tenant`."""
    return context().tenant(action)


def install(app: Flask) -> None:
    """Ask for a principal before every page."""
    app.before_request(lambda: correlation.begin(request.headers.get(correlation.HEADER)))
    app.teardown_request(lambda _error: correlation.end())
    app.before_request(_identify)


def _identify() -> None:
    view = current_app.view_functions.get(request.endpoint or "")
    if view is None or getattr(view, "is_public", False) or request.endpoint == "static":
        return
    shown = token()
    if not shown:
        g.principal = _visitor()
        return
    g.principal = authenticator()(shown, request.headers.get(TENANT_HEADER, ""))


def visit() -> str:
    """The token of the visit by a link that the request shows; empty when there is none."""
    return routes.visit_of(request.headers.get("Cookie", ""))


def _visitor() -> Principal:
    """Who came by a link, on the pages of a blueprint that is `for_links`."""
    pages = current_app.blueprints.get(request.blueprint or "")
    if not visit() or not getattr(pages, "for_links", False):
        raise NotAuthenticated
    return share_links.visitor(context().database, visit())
