"""Why Orthanc refused: its filter can only say no, so nginx asks here with the same credentials."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from gateway import access, audit, identity, routes
from gateway.audit import Record
from gateway.errors import GatewayError, NotAllowed, NotAuthenticated
from webapp import guard
from webapp.errors import CHALLENGE

pages = Blueprint("explain", __name__)


@pages.get("/auth/explain")
@guard.public
def explain() -> ResponseReturnValue:
    """401 or 403 as JSON for the request that X-Original-Method and X-Original-URI name."""
    method = request.headers.get("X-Original-Method", "GET")
    path = unquote(urlsplit(request.headers.get("X-Original-URI", "")).path) or "/"
    action = routes.action_of(method, path)
    database = guard.context().database
    who = None
    error: GatewayError
    try:
        who = identity.authenticate(database, guard.token())
        refused = f"{who.role} may not {action}."
        error = NotAllowed("" if access.permits(who, action) else refused)
    except NotAuthenticated as refusal:
        error = refusal
    record = Record(
        who.name if who else "unknown",
        action,
        f"{method} {path}"[:500],
        "denied",
        who.tenant_id if who else None,
        guard.origin(),
        error.message,
    )
    with database.system_session("audit a denial") as session:
        audit.append(session, record)
    headers = dict(CHALLENGE) if error.http_status == 401 else {}
    return error.as_json(), error.http_status, headers
