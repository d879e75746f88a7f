"""Every error becomes one page, or one JSON object for programs: message, cure and status."""

from __future__ import annotations

import logging
from urllib.parse import quote

from flask import Flask, g, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException

from gateway import audit, correlation
from gateway.access import Action
from gateway.errors import GatewayError, InvalidInput, NotAllowed, NotAuthenticated, NotFound
from gateway.identity import Principal
from webapp import guard

log = logging.getLogger(__name__)
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="Argonath"'}


class MethodNotAllowed(GatewayError):
    """This address does not take this kind of request.

    Open the page again and use its own buttons.
    """

    http_status = 405


class TooLarge(GatewayError):
    """The form is larger than the portal takes.

    Send DICOM files to /dicom-web/studies or to the DICOM port instead.
    """

    http_status = 413


class StaleForm(GatewayError):
    """The form is no longer valid, so nothing was changed.

    Open the page again and send the form from there.
    """

    http_status = 400


_FROM_STATUS: dict[int, type[GatewayError]] = {
    400: InvalidInput,
    404: NotFound,
    405: MethodNotAllowed,
    413: TooLarge,
}


def install(app: Flask) -> None:
    """Handle every exception that leaves a view."""
    app.register_error_handler(Exception, answer)


def wants_json() -> bool:
    """Whether the client is a program: it does not ask for HTML."""
    best = request.accept_mimetypes.best_match(["application/json", "text/html"])
    return best != "text/html" or request.path.startswith("/auth/explain")


def answer(error: Exception) -> ResponseReturnValue:
    """The one answer for `error`; sends people to the sign-in page when that is the cure."""
    if isinstance(error, HTTPException) and (error.code or 500) < 400:
        return error
    known = translate(error)
    if isinstance(known, guard.Undeclared):
        _record_denial(Action.UNKNOWN_ROUTE, f"page {request.endpoint}", known)
    elif isinstance(known, NotAllowed) and g.get("principal"):
        _record_denial(f"{request.method.lower()}-page", request.path, known)
    headers = dict(CHALLENGE) if known.http_status == 401 else {}
    if wants_json():
        return known.as_json(), known.http_status, headers
    if isinstance(known, NotAuthenticated) and request.endpoint != "auth.sign_in":
        if "HX-Request" in request.headers:  # a live part of a page whose session has ended
            return "", 401, headers | {"HX-Redirect": "/sign-in"}
        return redirect(f"/sign-in?next={quote(request.full_path.rstrip('?'))}")
    page = render_template("error.html", error=known, identifier=correlation.current())
    return page, known.http_status, headers


def translate(error: Exception) -> GatewayError:
    """The gateway's own error for `error`; what nobody foresaw is logged with its trace."""
    if isinstance(error, GatewayError):
        return error
    if isinstance(error, CSRFError):
        return StaleForm()
    if isinstance(error, HTTPException) and error.code in _FROM_STATUS:
        return _FROM_STATUS[error.code]()
    log.error("unexpected error", exc_info=error, extra={"endpoint": request.endpoint})
    return GatewayError()


def _record_denial(action: str, resource: str, error: GatewayError) -> None:
    who: Principal | None = g.get("principal")
    record = audit.Record(
        who.name if who else "unknown",
        action,
        resource,
        "denied",
        who.tenant_id if who else None,
        guard.origin(),
        error.message,
    )
    try:
        with guard.context().database.system_session("audit a denial") as session:
            audit.append(session, record)
    except GatewayError:
        log.warning("a denial could not be audited", extra={"error": error.code})
