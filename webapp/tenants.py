"""Tenants and their AE titles; for system admins."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import LiteralString

import psycopg.errors
from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue
from psycopg import sql
from werkzeug.utils import redirect

from gateway import access, tenancy
from gateway.access import Action
from gateway.errors import Conflict, GatewayError, InvalidInput, NotFound
from webapp import guard

pages = Blueprint("tenants", __name__, url_prefix="/tenants")


@pages.get("")
def index(error: GatewayError | None = None) -> ResponseReturnValue:
    """The tenants, and the form for a new one."""
    access.require(guard.principal(), Action.MANAGE_TENANTS)
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
def create() -> ResponseReturnValue:
    """Add a tenant."""
    access.require(guard.principal(), Action.MANAGE_TENANTS)
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
def show(tenant_id: str, error: GatewayError | None = None) -> ResponseReturnValue:
    """One tenant: under which AE titles it answers, and who may call it."""
    access.require(guard.principal(), Action.MANAGE_TENANTS)
    with guard.context().database.system_session("show a tenant") as session:
        tenant = next((t for t in tenancy.list_tenants(session) if t.tenant_id == tenant_id), None)
        callers = session.execute(
            "SELECT * FROM calling_ae_title WHERE tenant_id = %s ORDER BY ae_title", [tenant_id]
        ).fetchall()
    if tenant is None:
        raise NotFound(f"Tenant {tenant_id!r}.")
    page = render_template(
        "tenant.html", tenant=tenant, callers=callers, error=error, form=request.form
    )
    return page, error.http_status if error else 200


@pages.post("/<tenant_id>/called")
def add_called(tenant_id: str) -> ResponseReturnValue:
    """Let the tenant answer under one more AE title."""

    def add() -> None:
        title = tenancy.ae_title(request.form.get("ae_title", ""))
        _change(
            "add-called-ae",
            tenant_id,
            title,
            "INSERT INTO called_ae_title (tenant_id, ae_title) VALUES (%s, %s)",
            [tenant_id, title],
        )

    return _form(tenant_id, add)


@pages.post("/<tenant_id>/called/delete")
def remove_called(tenant_id: str) -> ResponseReturnValue:
    """Take an AE title from the tenant."""
    return _remove(tenant_id, "called_ae_title", "remove-called-ae")


@pages.post("/<tenant_id>/calling")
def add_calling(tenant_id: str) -> ResponseReturnValue:
    """Admit a modality, or change what it may do."""

    def add() -> None:
        title = tenancy.ae_title(request.form.get("ae_title", ""))
        _change(
            "set-calling-ae",
            tenant_id,
            title,
            "INSERT INTO calling_ae_title (tenant_id, ae_title, network, may_query, host, port) "
            "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (tenant_id, ae_title) DO UPDATE "
            "SET network = excluded.network, may_query = excluded.may_query, "
            "host = excluded.host, port = excluded.port",
            [
                tenant_id,
                title,
                network(request.form.get("network", "")),
                request.form.get("may_query") == "yes",
                request.form.get("host", "").strip() or None,
                port(request.form.get("port", "")),
            ],
        )

    return _form(tenant_id, add)


@pages.post("/<tenant_id>/calling/delete")
def remove_calling(tenant_id: str) -> ResponseReturnValue:
    """Admit a modality no longer."""
    return _remove(tenant_id, "calling_ae_title", "remove-calling-ae")


def network(value: str) -> str | None:
    """An address or network as PostgreSQL's cidr; empty: from anywhere."""
    if not value.strip():
        return None
    try:
        return str(ipaddress.ip_network(value.strip(), strict=False))
    except ValueError:
        raise InvalidInput(
            f"Address {value!r}: write it like 10.0.0.7 or 10.0.0.0/24, or leave it empty."
        ) from None


def port(value: str) -> int | None:
    """A TCP port; empty: none."""
    if not value.strip():
        return None
    if not (value.isascii() and value.strip().isdigit() and 0 < int(value) < 65536):
        raise InvalidInput(f"Port {value!r}: a number from 1 to 65535, DICOM often uses 104.")
    return int(value)


def _form(tenant_id: str, change: Callable[[], None]) -> ResponseReturnValue:
    """Do `change`; what is wrong with the form is shown on the tenant's page."""
    access.require(guard.principal(), Action.MANAGE_TENANTS)
    try:
        change()
    except (InvalidInput, Conflict) as error:
        return show(tenant_id, error)
    return redirect(f"/tenants/{tenant_id}", 303)


def _remove(tenant_id: str, table: str, action: str) -> ResponseReturnValue:
    title = request.form.get("ae_title", "")
    statement = sql.SQL("DELETE FROM {} WHERE tenant_id = %s AND ae_title = %s").format(
        sql.Identifier(table)
    )
    return _form(
        tenant_id, lambda: _change(action, tenant_id, title, statement, [tenant_id, title])
    )


def _change(
    action: str,
    tenant_id: str,
    title: str,
    statement: LiteralString | sql.Composed,
    values: list[object],
) -> None:
    context = guard.context()
    try:
        with context.database.system_session(action) as session:
            session.execute(statement, values)
            context.record(session, action, title, tenant_id)
    except psycopg.errors.UniqueViolation as error:
        raise Conflict(f"AE title {title!r} is taken.") from error
    except psycopg.errors.ForeignKeyViolation as error:
        raise NotFound(f"Tenant {tenant_id!r}.") from error
