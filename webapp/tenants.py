"""Tenants: the list, a new one, and the page of one; for system admins."""

from __future__ import annotations

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.utils import redirect

from gateway import calling_certificates, tenancy
from gateway.access import Action
from gateway.errors import Conflict, GatewayError, InvalidInput, NotFound
from gateway.needs import Needs
from webapp import guard

pages = Blueprint("tenants", __name__, url_prefix="/tenants")


@pages.get("")
@Needs(Action.MANAGE_TENANTS)
def index(error: GatewayError | None = None) -> ResponseReturnValue:
    """The tenants, and the form for a new one."""
    with guard.context().database.system_session("list tenants") as session:
        found = session.execute(
            """
            SELECT t.*, (SELECT count(*) FROM study s WHERE s.tenant_id = t.tenant_id) AS studies,
                   (SELECT count(*) FROM credential c WHERE c.tenant_id = t.tenant_id
                    AND c.kind = 'api-key' AND c.revoked_at IS NULL) AS keys,
                   (SELECT array_agg(ae_title ORDER BY ae_title) FROM called_ae_title a
                    WHERE a.tenant_id = t.tenant_id) AS ae_titles
            FROM tenant t ORDER BY t.tenant_id
            """
        ).fetchall()
    page = render_template("tenants.html", tenants=found, error=error, form=request.form)
    return page, error.http_status if error else 200


@pages.post("")
@Needs(Action.MANAGE_TENANTS)
def create() -> ResponseReturnValue:
    """Add a tenant."""
    tenant_id = request.form.get("tenant", "").strip()
    title = request.form.get("title", "").strip() or tenant_id.title()
    titles = request.form.get("ae_titles", "").split(",")
    try:
        if not any(value.strip() for value in titles):
            raise InvalidInput("AE title: a tenant needs at least one to receive studies.")
        tenancy.create_tenant(guard.context().database, tenant_id, title, titles)
    except (InvalidInput, Conflict) as error:
        return index(error)
    with guard.context().database.system_session("audit") as session:
        guard.context().record(session, "create-tenant", tenant_id, tenant_id)
    return redirect(f"/tenants/{tenant_id}", 303)


@pages.get("/<tenant_id>")
@Needs(Action.MANAGE_TENANTS)
def show(tenant_id: str, error: GatewayError | None = None) -> ResponseReturnValue:
    """One tenant: under which AE titles it answers, and who may call it."""
    with guard.context().database.system_session("show a tenant") as session:
        tenant = next((t for t in tenancy.list_tenants(session) if t.tenant_id == tenant_id), None)
        callers = session.execute(
            "SELECT * FROM calling_ae_title WHERE tenant_id = %s ORDER BY ae_title", [tenant_id]
        ).fetchall()
        certificates = calling_certificates.of_tenants(session, tenant_id)
        tls_only = calling_certificates.is_tls_only(session, tenant_id)
    if tenant is None:
        raise NotFound(f"Tenant {tenant_id!r}.")
    page = render_template(
        "tenant.html",
        tenant=tenant,
        callers=callers,
        certificates=certificates,
        tls_only=tls_only,
        tls_port=guard.context().settings.dicom_tls_port,
        plain=guard.context().settings.dicom_plain,
        error=error,
        form=request.form,
    )
    return page, error.http_status if error else 200
