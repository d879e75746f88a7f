"""Why Orthanc refused: it can only say no, so nginx asks here with the same credentials."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from gateway import access, audit, routes
from gateway.access import Action
from gateway.audit import Record
from gateway.bearer import TENANT_HEADER
from gateway.db import Database
from gateway.errors import GatewayError, NotAllowed, NotAuthenticated
from gateway.identity import Principal
from gateway.needs import Needs, Open
from webapp import guard, strangers
from webapp.errors import CHALLENGE

pages = Blueprint("explain", __name__)
_RETRY = {"Retry-After": "2"}


class NotChecked(GatewayError):
    """These credentials could not be checked at that moment.

    Nothing is wrong with them; try again in some seconds.
    """

    http_status = 503
    permanent = False


class NotStored(GatewayError):
    """Not every object of the request could be stored.

    Each must be a whole DICOM file with StudyInstanceUID, SeriesInstanceUID and SOPInstanceUID, in
    a study that is not another sender's. Search for what is there, correct the rest and send it
    again; an admin finds in the audit which studies were refused.
    """

    http_status = 400


@pages.get("/auth/explain")
@Needs(Open.TO_ALL)
def explain() -> ResponseReturnValue:
    """400, 401, 403 or 503 as JSON for the request that the X-Original headers name."""
    method = request.headers.get("X-Original-Method", "GET")
    path = unquote(urlsplit(request.headers.get("X-Original-URI", "")).path) or "/"
    error: GatewayError
    try:
        error = _refusal(guard.context().database, method, path)
    except GatewayError as unavailable:
        # Neither wrong nor missing credentials: the node could not know who asks.
        error = unavailable
    headers = CHALLENGE if error.http_status == 401 else {} if error.permanent else _RETRY
    return error.as_json(), error.http_status, dict(headers)


def _refusal(database: Database, method: str, path: str) -> GatewayError:
    """Why the node has refused, audited."""
    action = routes.action_of(method, path)
    who = None
    error: GatewayError
    try:
        who = guard.authenticator()(guard.token(), request.headers.get(TENANT_HEADER, ""))
        error = _reason(who, action)
    except (NotAuthenticated, NotAllowed) as refusal:
        error = refusal
    record = Record(
        who.name if who else strangers.ACTOR,
        action,
        f"{method} {path}"[:500],
        "failed" if isinstance(error, NotStored) else "denied",
        who.tenant_id if who else None,
        guard.origin(),
        error.message,
    )
    if who is None:
        strangers.note(database, record)
        return error
    with database.system_session("audit a denial") as session:
        audit.append(session, record)
    return error


def _reason(who: Principal, action: Action) -> GatewayError:
    if request.headers.get("X-Original-Status") == "400":
        return NotStored()
    if action is Action.UNKNOWN_ROUTE:
        return NotAllowed("There is no such route, or it is closed to everybody.")
    if not access.permits(who, action):
        return NotAllowed(f"{who.role} may not {action}.")
    if action is Action.RAW_ARCHIVE:
        return NotAllowed("Orthanc refuses it to everybody.")
    # The policy permits it now; the node, a moment ago, had no database or did not know the key.
    return NotChecked()
