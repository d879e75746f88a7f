"""Under which AE titles a tenant answers, and who may call it; for system admins.

What is wrong with a form is shown on the tenant's page.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import LiteralString

import psycopg.errors
from flask import Blueprint, request
from flask.typing import ResponseReturnValue
from psycopg import sql
from werkzeug.utils import redirect

from gateway import calling_certificates, tenancy
from gateway.access import Action
from gateway.calling_certificates import Listed
from gateway.db import Session
from gateway.errors import Conflict, InvalidInput, NotFound
from gateway.needs import Needs
from webapp import guard, tenants

pages = Blueprint("ae_titles", __name__, url_prefix="/tenants")


@pages.post("/<tenant_id>/called")
@Needs(Action.MANAGE_TENANTS)
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
@Needs(Action.MANAGE_TENANTS)
def remove_called(tenant_id: str) -> ResponseReturnValue:
    """Take an AE title from the tenant."""
    return _remove(tenant_id, "called_ae_title", "remove-called-ae")


@pages.post("/<tenant_id>/calling")
@Needs(Action.MANAGE_TENANTS)
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
@Needs(Action.MANAGE_TENANTS)
def remove_calling(tenant_id: str) -> ResponseReturnValue:
    """Admit a modality no longer."""
    return _remove(tenant_id, "calling_ae_title", "remove-calling-ae")


@pages.post("/<tenant_id>/certificates")
@Needs(Action.MANAGE_TENANTS)
def add_certificate(tenant_id: str) -> ResponseReturnValue:
    """Let who shows this certificate call as an AE title."""
    return _certificate(tenant_id, "add-certificate", calling_certificates.add)


@pages.post("/<tenant_id>/certificates/delete")
@Needs(Action.MANAGE_TENANTS)
def remove_certificate(tenant_id: str) -> ResponseReturnValue:
    """Admit it no longer."""
    return _certificate(tenant_id, "remove-certificate", calling_certificates.remove)


@pages.post("/<tenant_id>/tls")
@Needs(Action.MANAGE_TENANTS)
def set_tls(tenant_id: str) -> ResponseReturnValue:
    """Reach the tenant by DICOM over TLS alone, or without TLS too."""

    def change() -> None:
        only = request.form.get("tls_only") == "yes"
        context = guard.context()
        with context.database.system_session("set-tls-only") as session:
            calling_certificates.set_tls_only(session, tenant_id, only)
            context.record(session, "set-tls-only", f"only {only}", tenant_id)

    return _form(tenant_id, change)


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


def _certificate(
    tenant_id: str, action: str, change: Callable[[Session, str, str, str], Listed]
) -> ResponseReturnValue:
    def changed() -> None:
        title = request.form.get("ae_title", "")
        context = guard.context()
        with context.database.system_session(action) as session:
            listed = change(session, tenant_id, title, request.form.get("certificate", ""))
            context.record(session, action, f"{listed.ae_title} {listed.identity}", tenant_id)

    return _form(tenant_id, changed)


def _form(tenant_id: str, change: Callable[[], None]) -> ResponseReturnValue:
    try:
        change()
    except (InvalidInput, Conflict) as error:
        return tenants.show(tenant_id, error)
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
