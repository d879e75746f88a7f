"""API keys of the tenant: make (shown once), list, revoke."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from flask import Blueprint, redirect, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from gateway import identity
from gateway.access import Action
from gateway.errors import GatewayError, InvalidInput
from gateway.identity import Role
from gateway.needs import Needs
from webapp import guard

pages = Blueprint("keys", __name__, url_prefix="/keys")
ROLES = {
    Role.VIEWER: "reads studies",
    Role.MEMBER: "reads and stores studies",
    Role.ADMIN: "also deletes, routes, manages keys",
}
LIFETIMES = {"30": "30 days", "365": "1 year", "": "no expiry"}


@pages.get("")
@Needs(Action.MANAGE_KEYS)
def index(
    error: GatewayError | None = None, new_key: str = "", new_label: str = ""
) -> ResponseReturnValue:
    """The tenant's keys; never the keys themselves, which are not stored."""
    tenant_id = guard.tenant()
    with guard.context().database.tenant_session(tenant_id) as session:
        found = session.execute(
            "SELECT *, revoked_at IS NULL AND coalesce(expires_at > now(), true) AS works "
            "FROM credential WHERE kind = 'api-key' ORDER BY works DESC, created_at DESC LIMIT 200"
        ).fetchall()
    page = render_template(
        "keys.html",
        keys=found,
        roles=ROLES,
        lifetimes=LIFETIMES,
        error=error,
        new_key=new_key,
        new_label=new_label,
    )
    return page, error.http_status if error else 200


@pages.post("")
@Needs(Action.MANAGE_KEYS)
def create() -> ResponseReturnValue:
    """Make a key. This answer is the only place where it is ever shown."""
    tenant_id = guard.tenant()
    context = guard.context()
    try:
        role, label, expires_at = _wanted()
    except InvalidInput as error:
        return index(error)
    with context.database.tenant_session(tenant_id) as session:
        key = identity.create_api_key(session, tenant_id, role, label=label, expires_at=expires_at)
        context.record(session, "create-key", label, tenant_id, f"role {role}")
    return index(new_key=key, new_label=label)


@pages.post("/<int:credential_id>/revoke")
@Needs(Action.MANAGE_KEYS)
def revoke(credential_id: int) -> Response:
    """Make a key worthless at once."""
    tenant_id = guard.tenant()
    context = guard.context()
    with context.database.tenant_session(tenant_id) as session:
        identity.revoke_api_key(session, credential_id=credential_id)
        context.record(session, "revoke-key", f"key {credential_id}", tenant_id)
    return redirect("/keys", 303)


def _wanted() -> tuple[Role, str, datetime | None]:
    label = request.form.get("label", "").strip()[:80]
    role, lifetime = request.form.get("role", ""), request.form.get("lifetime", "")
    if not label:
        raise InvalidInput("Label: say what the key is for, so that it can be told from others.")
    if role not in ROLES:
        raise InvalidInput(f"Role {role!r}: choose one of {', '.join(ROLES)}.")
    if lifetime not in LIFETIMES:
        raise InvalidInput(f"Expiry {lifetime!r}: choose one from the list.")
    days = timedelta(days=int(lifetime)) if lifetime else None
    return Role(role), label, datetime.now(UTC) + days if days else None
