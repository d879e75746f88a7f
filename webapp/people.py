"""People: the members of a tenant, for its admins; everybody, for system admins."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from gateway import access, identity, invitations, mail, people
from gateway.access import Action
from gateway.errors import Conflict, GatewayError, InvalidInput
from gateway.identity import Role
from gateway.needs import Needs
from webapp import guard

pages = Blueprint("people", __name__, url_prefix="/people")
ROLES = {
    Role.VIEWER: "sees studies",
    Role.MEMBER: "also stores studies",
    Role.ADMIN: "also routes, deletes, manages keys and people",
    Role.OWNER: "an admin whom only owners change",
}


@pages.get("")
@Needs(Action.MANAGE_PEOPLE)
def index(error: GatewayError | None = None, new_link: str = "") -> ResponseReturnValue:
    """The tenant's members; without a tenant (system admins), everybody."""
    who = guard.principal()
    page = _everybody(error) if who.tenant_id is None else _members(error, new_link)
    return page, error.http_status if error else 200


def _members(error: GatewayError | None, new_link: str) -> str:
    tenant_id = guard.tenant()
    with guard.context().database.tenant_session(tenant_id) as session:
        found, invited = people.members(session), invitations.pending(session)
    roles = ROLES if guard.context().may(Action.MANAGE_OWNERS) else _without_owner()
    return render_template(
        "people.html",
        members=found,
        invited=invited,
        by_mail=mail.is_set_up(guard.context().settings),
        new_link=new_link,
        all_roles=ROLES,
        roles=roles,
        error=error,
        form=request.form,
    )


def _everybody(error: GatewayError | None) -> str:
    access.require(guard.principal(), Action.MANAGE_TENANTS)
    with guard.context().database.system_session("list people") as session:
        found = people.everybody(session)
    return render_template("everybody.html", people=found, error=error, form=request.form)


@pages.post("/system-admins")
@Needs(Action.MANAGE_TENANTS)
def add_system_admin() -> ResponseReturnValue:
    """Add somebody who sees every tenant."""
    context, email = guard.context(), request.form.get("email", "").strip().lower()
    try:
        with context.database.system_session("add a system admin") as session:
            password = request.form.get("password", "")
            identity.create_person(session, email, password, system_admin=True)
            context.record(session, "create-user", f"person {email}", None, "system admin")
    except (InvalidInput, Conflict) as error:
        return index(error)
    flash(f"{email} can sign in as system admin.")
    return redirect("/people", 303)


@pages.post("/<int:person_id>/role")
@Needs(Action.MANAGE_PEOPLE)
def change_role(person_id: int) -> Response:
    """Give a member another role."""
    tenant_id, role, context = guard.tenant(), wanted_role(), guard.context()
    with context.database.tenant_session(tenant_id) as session:
        member = people.change_role(session, guard.principal(), person_id, role)
        change = f"role {member.role} to {role}"
        context.record(session, "change-role", f"person {member.email}", tenant_id, change)
    flash(f"{member.email} is {role} now.")
    return redirect("/people", 303)


@pages.post("/<int:person_id>/remove")
@Needs(Action.MANAGE_PEOPLE)
def remove(person_id: int) -> Response:
    """End a membership."""
    tenant_id, context = guard.tenant(), guard.context()
    with context.database.tenant_session(tenant_id) as session:
        member = people.remove(session, guard.principal(), person_id)
        context.record(session, "remove-member", f"person {member.email}", tenant_id)
    flash(f"{member.email} is no member any more.")
    return redirect("/people", 303)


@pages.post("/<int:person_id>/disabled")
@Needs(Action.MANAGE_TENANTS)
def disable(person_id: int) -> Response:
    """Forbid somebody to sign in anywhere, or permit it again."""
    disabled, context = request.form.get("disabled") == "yes", guard.context()
    with context.database.system_session("disable a person") as session:
        email = people.disable(session, guard.principal(), person_id, disabled=disabled)
        action = "disable-user" if disabled else "enable-user"
        context.record(session, action, f"person {email}", None)
    flash(f"{email} can {'no longer' if disabled else 'again'} sign in.")
    return redirect("/people", 303)


def wanted_role() -> Role:
    """The role that a form names; raises `InvalidInput`."""
    wanted = request.form.get("role", "")
    if wanted not in ROLES:
        raise InvalidInput(f"Role {wanted!r}: choose one of {', '.join(ROLES)}.")
    return Role(wanted)


def _without_owner() -> dict[Role, str]:
    return {role: does for role, does in ROLES.items() if role is not Role.OWNER}
