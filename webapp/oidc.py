"""Signing in at an OpenID provider, coming back, and leaving it again."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from flask import Blueprint, flash, make_response, redirect, render_template, request, session
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from gateway import audit, identity, invitations, oidc_people, vault
from gateway.audit import Record, Verdict
from gateway.errors import GatewayError, NotAllowed, NotAuthenticated, NotFound
from gateway.needs import Needs, Open
from gateway.oidc_claims import Stranger
from webapp import guard, strangers
from webapp.invitations import take
from webapp.session import local, signed_in

if TYPE_CHECKING:
    from gateway.oidc import Provider

pages = Blueprint("oidc", __name__, url_prefix="/oidc")
_KEPT = "oidc"
_ATTEMPT_S = 900


@pages.get("/sign-in")
@Needs(Open.TO_ALL)
def begin() -> Response:
    """Send somebody to the provider."""
    target, invitation = request.args.get("next", "/"), request.args.get("invitation", "")
    return redirect(_begin(next=local(target), invitation=invitation[:100]), 303)


@pages.post("/link")
@Needs(Open.TO_SIGNED_IN)
def link() -> Response:
    """Send a signed-in person to the provider, to link the account there with the one here."""
    return leave(_begin(person=guard.principal().person_id))


@pages.get("/callback")
@Needs(Open.TO_ALL)
def callback() -> ResponseReturnValue:
    """Whom the provider sends back: check everything, then begin the session."""
    from gateway.oidc import Attempt, SignInRefused

    provider, kept = _provider(), session.pop(_KEPT, None)
    stranger = None
    try:
        if kept is None or kept["at"] < time.time() - _ATTEMPT_S:
            raise SignInRefused("No attempt of the last minutes began in this browser.")
        attempt = Attempt(**kept["attempt"])
        stranger = provider.finish(attempt, request.args.to_dict(), _address("callback"))
        if kept.get("person"):
            return _link(kept["person"], stranger)
        invitation = kept.get("invitation", "")
        token = _accept(stranger, invitation) if invitation else _sign_in(stranger)
    except GatewayError as error:
        _note(stranger, "denied", error.message)
        raise
    return signed_in(token, kept.get("next", "/"))


def _sign_in(stranger: Stranger) -> str:
    settings = guard.context().settings
    with guard.context().database.system_session("sign in by OpenID") as rows:
        # What the provider took away stays away, also when nothing is left to sign in to.
        person_id = oidc_people.person_of(rows, stranger)
    with guard.context().database.system_session("sign in by OpenID") as rows:
        token = identity.open_session(
            rows,
            person_id,
            hours=settings.session_hours,
            id_token=_sealed(stranger.id_token),
        )
        audit.append(rows, _record(stranger, "allowed"))
    return token


def _accept(stranger: Stranger, invitation_token: str) -> str:
    with guard.context().database.system_session("accept an invitation") as rows:
        invitation = invitations.find(rows, invitation_token)
        person_id = oidc_people.person_of(rows, stranger, invited=True)
        name, id_token = _name(stranger), _sealed(stranger.id_token)
        return take(rows, invitation, person_id, name, id_token)


def _link(person_id: int, stranger: Stranger) -> Response:
    try:
        who = guard.authenticator()(guard.token())
    except NotAuthenticated:
        who = None
    if who is None or who.person_id != person_id:
        raise NotAllowed("The person who began to link is not signed in any more.")
    with guard.context().database.system_session("link an account") as rows:
        oidc_people.link(rows, person_id, stranger)
        resource, subject = f"person {who.name}", f"oidc {stranger.subject}"
        audit.append(
            rows,
            Record(
                who.name, "link-account", resource, "allowed", None, guard.origin(), subject[:500]
            ),
        )
    flash("Linked: from now on both ways lead to this account.")
    return redirect("/enter", 303)


def end_session_url(sealed: str) -> str | None:
    """Where the session at the provider ends; None where that cannot be told."""
    provider, settings = guard.authenticator().provider, guard.context().settings
    if provider is None:
        return None
    try:
        id_token = vault.unseal(settings.encryption_key, sealed)
        return provider.end_session_url(id_token, guard.base_url() + "/sign-in")
    except GatewayError:
        return None  # the session here is over in any case


def leave(url: str) -> Response:
    """A page that goes to the provider: a form of ours may not redirect there (form-action)."""
    title = guard.context().settings.oidc_title
    return make_response(render_template("leave.html", url=url, provider=title))


def _begin(**purpose: Any) -> str:
    url, attempt = _provider().begin(_address("callback"))
    session[_KEPT] = {"attempt": asdict(attempt), "at": int(time.time()), **purpose}
    return url


def _provider() -> Provider:
    provider = guard.authenticator().provider
    if provider is None:
        raise NotFound("This gateway has no OpenID provider.")
    return provider


def _address(page: str) -> str:
    return f"{guard.base_url()}/oidc/{page}"


def _sealed(id_token: str) -> str:
    key = guard.context().settings.encryption_key
    return vault.seal(key, id_token) if key else ""


def _note(stranger: Stranger | None, verdict: Verdict, detail: str) -> None:
    database, record = guard.context().database, _record(stranger, verdict, detail)
    if stranger is None:
        strangers.note(database, record)
        return
    with database.system_session("note a sign-in") as rows:
        audit.append(rows, record)


def _record(stranger: Stranger | None, verdict: Verdict, detail: str = "OpenID") -> Record:
    name = _name(stranger) if stranger else strangers.ACTOR
    return Record(name, "sign-in-oidc", f"person {name}", verdict, None, guard.origin(), detail)


def _name(stranger: Stranger) -> str:
    return stranger.email or f"oidc {stranger.subject}"[:254]
