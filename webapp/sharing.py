"""Sharing: the part of a study's page where its owner shares it, and what others share with us."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from flask import Blueprint, flash, redirect, render_template, request
from werkzeug.wrappers import Response

from gateway import access, audit, share_links, sharing
from gateway.access import Action
from gateway.audit import Record
from gateway.db import Row, Session
from gateway.errors import GatewayError, InvalidInput
from gateway.needs import Needs
from webapp import guard

pages = Blueprint("sharing", __name__)
LIFETIMES = {"1": "1 day", "7": "7 days", "30": "30 days", "90": "90 days", "365": "1 year"}


def received(session: Session, uid: str | None = None) -> Sequence[Row]:
    """What is shared with the session's tenant now, or one study of it."""
    return sharing.received(session, uid)


def note_view(row: Row) -> None:
    """The person of this request looks at a study that was `received`."""
    context, share = guard.context(), sharing.Share.of(row)
    with context.database.system_session("view of a share") as session:
        resource = f"study {share.study_instance_uid}"
        context.record(session, Action.READ_STUDY, resource, share.with_tenant_id, "portal")
        sharing.viewed(session, share, guard.principal().name, guard.origin())


def shares_of(
    session: Session, tenant_id: str, uid: str
) -> tuple[Sequence[Row] | None, Sequence[Row]]:
    """The shares with tenants, and the links, of an own study; None for who may not share it."""
    if not access.permits(guard.principal(), Action.SHARE_STUDY):
        return None, ()
    return sharing.of_study(session, tenant_id, uid), share_links.of_study(session, uid)


@pages.post("/studies/<uid>/shares")
@Needs(Action.SHARE_STUDY)
def create(uid: str) -> Response:
    """Share a study with whose sharing address it is, or give a live share another end."""
    tenant_id = guard.tenant()
    who, database = guard.principal(), guard.context().database
    address = request.form.get("address", "")
    try:
        expires_at = expiry(request.form.get("lifetime", ""))
        with database.tenant_session(tenant_id) as session:
            share = sharing.share(session, tenant_id, uid, address, expires_at, who.name)
            sharing.shared(session, share, who.name, guard.origin())
    except GatewayError as error:
        _record_failure(tenant_id, uid, error)
        raise
    flash(f"Shared with {share.with_tenant_id} until {expires_at:%Y-%m-%d %H:%M} UTC.")
    return redirect(f"/studies/{uid}", 303)


@pages.post("/shares/<int:number>/revoke")
@Needs(Action.SHARE_STUDY)
def revoke(number: int) -> Response:
    """End a share at once."""
    tenant_id = guard.tenant()
    with guard.context().database.tenant_session(tenant_id) as session:
        ended = sharing.revoke(session, number)
        sharing.tell(session, ended, sharing.REVOKE, guard.principal().name, guard.origin())
    flash(f"No longer shared with {ended.with_tenant_id}.")
    return redirect(f"/studies/{ended.study_instance_uid}", 303)


@pages.get("/shared")
@Needs(Action.READ_STUDY)
def index() -> str:
    """What other tenants share with this one, now; for who may share, the sharing address."""
    tenant_id, context = guard.tenant(), guard.context()
    with context.database.tenant_session(tenant_id) as session:
        found = sharing.received(session)
        context.record(session, Action.READ_STUDY, "search", tenant_id, "portal: shared with us")
        address = sharing.address_of(session, tenant_id) if context.may(Action.SHARE_STUDY) else ""
    return render_template("shared.html", studies=found, address=address)


@pages.post("/shared/address")
@Needs(Action.SHARE_STUDY)
def renew_address() -> Response:
    """Another sharing address: whoever has the old one shares nothing more by it."""
    tenant_id, context = guard.tenant(), guard.context()
    with context.database.tenant_session(tenant_id) as session:
        sharing.renew_address(session, tenant_id)
        context.record(session, "renew-sharing-address", f"tenant {tenant_id}", tenant_id)
    flash("The sharing address is new. The old one is worthless; what was shared stays shared.")
    return redirect("/shared", 303)


def expiry(lifetime: str) -> datetime:
    """When what is shared from now on ends; raises `InvalidInput`."""
    if lifetime not in LIFETIMES:
        raise InvalidInput(f"Ends after {lifetime!r}: choose one from the list.")
    return datetime.now(UTC) + timedelta(days=int(lifetime))


def _record_failure(tenant_id: str, uid: str, error: GatewayError) -> None:
    """An attempt to share is told to the tenant that made it, and to nobody else."""
    record = Record(
        guard.principal().name,
        Action.SHARE_STUDY,
        f"study {uid}"[:80],
        "denied",
        tenant_id,
        guard.origin(),
        error.code,
    )
    with guard.context().database.system_session("audit a share") as session:
        audit.append(session, record)
