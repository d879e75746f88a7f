"""Sign in and out, and the tenant in which a person works."""

from __future__ import annotations

from flask import Blueprint, g, make_response, redirect, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from gateway import access, identity
from gateway.errors import NotAllowed, NotAuthenticated
from gateway.routes import SESSION_COOKIE
from webapp import guard
from webapp.throttle import Attempts, TooManyAttempts

pages = Blueprint("auth", __name__)


@pages.get("/sign-in")
@guard.public
def sign_in() -> ResponseReturnValue:
    """The form."""
    return render_template("sign_in.html", email="", next=local(request.args.get("next", "/")))


@pages.post("/sign-in")
@guard.public
def check() -> ResponseReturnValue:
    """Check e-mail and password; the answer to a wrong one is the form again."""
    context = guard.context()
    email = request.form.get("email", "").strip().lower()[:254]
    target = local(request.form.get("next", "/"))
    attempts = Attempts(context.database, email, guard.origin())
    try:
        attempts.check()
        token = identity.sign_in(
            context.database,
            email,
            request.form.get("password", ""),
            hours=context.settings.session_hours,
        )
    except (NotAuthenticated, TooManyAttempts) as error:
        if isinstance(error, NotAuthenticated):
            attempts.note(succeeded=False)
        page = render_template("sign_in.html", email=email, next=target, error=error)
        return page, error.http_status
    attempts.note(succeeded=True)
    answer = redirect(target, 303)
    answer.set_cookie(
        SESSION_COOKIE,
        token,
        max_age=context.settings.session_hours * 3600,
        httponly=True,
        samesite="Lax",
        secure=context.settings.secure_cookies,
    )
    return answer


@pages.post("/sign-out")
@guard.public
def sign_out() -> Response:
    """End the session here and in the database."""
    if token := guard.token():
        identity.sign_out(guard.context().database, token)
    answer = make_response(redirect("/sign-in", 303))
    answer.delete_cookie(SESSION_COOKIE)
    return answer


@pages.get("/enter")
def choose() -> str:
    """The tenants that the person may enter."""
    who = guard.principal()
    with guard.context().database.system_session("tenants of a person") as session:
        rows = session.execute(
            """
            SELECT t.tenant_id, t.title, m.role FROM tenant t
            LEFT JOIN membership m ON m.tenant_id = t.tenant_id AND m.person_id = %(person)s
            WHERE %(all)s OR m.person_id IS NOT NULL ORDER BY t.tenant_id
            """,
            {"person": who.person_id, "all": access.is_system(who)},
        ).fetchall()
    return render_template("enter.html", tenants=rows)


@pages.post("/enter")
def enter() -> Response:
    """Move the session to another tenant, or (empty) out of any."""
    who = guard.principal()
    tenant_id = request.form.get("tenant") or None
    if tenant_id is None and not access.is_system(who):
        raise NotAllowed("Only a system admin works without a tenant.")
    context = guard.context()
    with context.database.system_session("enter a tenant") as session:
        identity.enter_tenant(session, who, tenant_id)
        context.record(session, "enter-tenant", tenant_id or "none", tenant_id)
    g.pop("principal", None)
    return redirect("/", 303)


def local(target: str) -> str:
    """`target` if it is a path of ours, else the first page: never send a person elsewhere."""
    unsafe = not target.startswith("/") or target.startswith(("//", "/\\", "/sign-"))
    return "/" if unsafe or any(ord(letter) < 32 for letter in target) else target
