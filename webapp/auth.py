"""Sign in and out, and the tenant in which a person works."""

from __future__ import annotations

from flask import Blueprint, g, redirect, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from gateway import access, audit, identity
from gateway.audit import Record
from gateway.errors import GatewayError, NotAllowed, NotAuthenticated
from gateway.needs import Needs, Open
from gateway.routes import SESSION_COOKIE
from webapp import guard, oidc, session
from webapp.throttle import Attempts, TooManyAttempts

pages = Blueprint("auth", __name__)


class SignInFailed(NotAuthenticated):
    """Signing in did not succeed.

    Check both and try again. Who has lost the password is invited anew by an admin of the tenant.
    """


@pages.get("/sign-in")
@Needs(Open.TO_ALL)
def sign_in() -> ResponseReturnValue:
    """The form."""
    return _form("", session.local(request.args.get("next", "/")))


@pages.post("/sign-in")
@Needs(Open.TO_ALL)
def check() -> ResponseReturnValue:
    """Check e-mail and password; the answer to a wrong one is the form again."""
    context = guard.context()
    email = request.form.get("email", "").strip().lower()[:254]
    target = session.local(request.form.get("next", "/"))
    attempts = Attempts(context.database, email, guard.origin())
    try:
        attempts.check()
        token = identity.sign_in(
            context.database,
            email,
            request.form.get("password", ""),
            hours=context.settings.session_hours,
        )
    except TooManyAttempts as error:
        return _again(email, target, error)
    except NotAuthenticated as error:
        attempts.note(succeeded=False)
        return _again(email, target, SignInFailed(error.detail))
    attempts.note(succeeded=True)
    return session.signed_in(token, target)


def _again(email: str, target: str, error: GatewayError) -> ResponseReturnValue:
    return _form(email, target, error), error.http_status


def _form(email: str, target: str, error: GatewayError | None = None) -> str:
    settings = guard.context().settings
    title = settings.oidc_title if settings.oidc_issuer else ""
    return render_template("sign_in.html", email=email, next=target, error=error, provider=title)


@pages.post("/sign-out")
@Needs(Open.TO_ALL)
def sign_out() -> Response:
    """End the session here and in the database, and one that began at the OpenID provider there."""
    context = guard.context()
    ended = identity.sign_out(context.database, guard.token())
    if ended:
        resource = f"person {ended.email}"
        record = Record(
            ended.email, "sign-out", resource, "allowed", ended.tenant_id, guard.origin()
        )
        with context.database.system_session("audit a sign-out") as rows:
            audit.append(rows, record)
    elsewhere = oidc.end_session_url(ended.id_token) if ended and ended.id_token else None
    answer = oidc.leave(elsewhere) if elsewhere else redirect("/sign-in", 303)
    answer.delete_cookie(SESSION_COOKIE)
    return answer


@pages.get("/enter")
@Needs(Open.TO_SIGNED_IN)
def choose() -> str:
    """The tenants that the person may enter."""
    who = guard.principal()
    with guard.context().database.system_session("tenants of a person") as rows:
        found = rows.execute(
            """
            SELECT t.tenant_id, t.title, m.role FROM tenant t
            LEFT JOIN membership m ON m.tenant_id = t.tenant_id AND m.person_id = %(person)s
            WHERE %(all)s OR m.person_id IS NOT NULL ORDER BY t.tenant_id
            """,
            {"person": who.person_id, "all": access.is_system(who)},
        ).fetchall()
        linkable = rows.execute(
            "SELECT oidc_issuer IS NULL AS able FROM person WHERE person_id = %s", [who.person_id]
        ).fetchone()
    settings = guard.context().settings
    offer = settings.oidc_title if settings.oidc_issuer and linkable and linkable["able"] else ""
    return render_template("enter.html", tenants=found, link=offer)


@pages.post("/enter")
@Needs(Open.TO_SIGNED_IN)
def enter() -> Response:
    """Move the session to another tenant, or (empty) out of any."""
    who = guard.principal()
    tenant_id = request.form.get("tenant") or None
    if tenant_id is None and not access.is_system(who):
        raise NotAllowed("Only a system admin works without a tenant.")
    context = guard.context()
    with context.database.system_session("enter a tenant") as rows:
        identity.enter_tenant(rows, who, tenant_id)
        context.record(rows, "enter-tenant", tenant_id or "none", tenant_id)
    g.pop("principal", None)
    return redirect("/", 303)
