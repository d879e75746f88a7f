"""Inviting somebody to the tenant by a link, and accepting it."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from gateway import audit, identity, invitations, mail
from gateway.access import Action
from gateway.audit import Record
from gateway.db import Session
from gateway.errors import (
    Conflict,
    GatewayError,
    InvalidInput,
    InvalidSettings,
    NotAllowed,
    NotAuthenticated,
)
from gateway.invitations import GOOD_FOR_DAYS, Invitation
from gateway.needs import Needs, Open
from webapp import guard, people
from webapp.session import signed_in
from webapp.throttle import Attempts, TooManyAttempts

pages = Blueprint("invitations", __name__)


@pages.post("/people")
@Needs(Action.MANAGE_PEOPLE)
def invite() -> ResponseReturnValue:
    """Send the link by e-mail; without a mail server, or when it fails, show it this once.

    The answer and the work are the same whether somebody of another tenant has the address or not.
    """
    tenant_id, context = guard.tenant(), guard.context()
    email = request.form.get("email", "").strip().lower()
    try:
        role = people.wanted_role()
        with context.database.tenant_session(tenant_id) as session:
            token = invitations.invite(session, guard.principal(), tenant_id, email, role)
            context.record(session, "invite", f"person {email}", tenant_id, f"role {role}")
    except (InvalidInput, Conflict, NotAllowed) as error:
        return people.index(error)
    link = f"{guard.base_url()}/invitations/{token}"
    if not mail.is_set_up(context.settings):
        return people.index(new_link=link)
    try:
        mail.send(context.settings, email, f"Invitation to {tenant_id}", _text(link))
    except (mail.MailNotSent, InvalidSettings) as error:
        return people.index(error, new_link=link)
    flash(f"The link is on its way to {email}.")
    return redirect("/people", 303)


@pages.post("/people/invitations/<int:invitation_id>/withdraw")
@Needs(Action.MANAGE_PEOPLE)
def withdraw(invitation_id: int) -> Response:
    """Make an invitation worthless."""
    tenant_id, context = guard.tenant(), guard.context()
    with context.database.tenant_session(tenant_id) as session:
        email = invitations.withdraw(session, invitation_id)
        context.record(session, "withdraw-invitation", f"person {email}", tenant_id)
    flash(f"The invitation of {email} is worthless now.")
    return redirect("/people", 303)


@pages.get("/invitations/<token>")
@Needs(Open.TO_ALL)
def show(token: str, error: GatewayError | None = None) -> ResponseReturnValue:
    """Who invites whom to what; raises `InvitationOver`."""
    settings = guard.context().settings
    with guard.context().database.system_session("show an invitation") as session:
        invitation = invitations.find(session, token)
    page = render_template(
        "invitation.html",
        it=invitation,
        token=token,
        provider=settings.oidc_title if settings.oidc_issuer else "",
        error=error,
    )
    return page, error.http_status if error else 200


@pages.post("/invitations/<token>")
@Needs(Open.TO_ALL)
def accept(token: str) -> ResponseReturnValue:
    """Take the invitation with a password: a new one, or that of an account that exists."""
    context, password = guard.context(), request.form.get("password", "")
    with context.database.system_session("look up an invitation") as session:
        email = invitations.find(session, token).email
    attempts = Attempts(context.database, email, guard.origin())
    try:
        attempts.check()
        with context.database.system_session("accept an invitation") as session:
            invitation = invitations.find(session, token)
            person_id = invitations.person_for(session, invitation, password)
            key = take(session, invitation, person_id, invitation.email)
    except NotAuthenticated as error:
        attempts.note(succeeded=False)
        return show(token, error)
    except (InvalidInput, TooManyAttempts) as error:
        return show(token, error)
    return signed_in(key, "/")


def take(
    session: Session, invitation: Invitation, person_id: int, name: str, id_token: str = ""
) -> str:
    """Make the person a member, audit it, and begin a session in the tenant; its token."""
    invitations.accept(session, invitation, person_id)
    detail = f"invited as {invitation.email} by {invitation.invited_by}, role {invitation.role}"
    record = Record(
        name,
        "accept-invitation",
        f"person {name}",
        "allowed",
        invitation.tenant_id,
        guard.origin(),
        detail,
    )
    audit.append(session, record)
    return identity.open_session(
        session,
        person_id,
        hours=guard.context().settings.session_hours,
        tenant_id=invitation.tenant_id,
        id_token=id_token,
    )


def _text(link: str) -> str:
    who = guard.principal()
    return (
        f"{who.name} invites you to the medical images of {who.tenant_id}.\n\n{link}\n\n"
        f"The link is good once, for {GOOD_FOR_DAYS} days. If you expected no invitation, "
        "there is nothing to do.\n"
    )
