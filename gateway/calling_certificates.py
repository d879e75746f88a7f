"""Which certificate may use which calling AE title of a tenant, and who is reached by TLS alone.

For system admins: in the portal and by `argonath certificate`. All want a system session.
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg.errors

from gateway.certificates import identity
from gateway.db import Session
from gateway.errors import NotFound
from gateway.tenancy import ae_title


@dataclass(frozen=True)
class Listed:
    """One certificate of a tenant's calling AE title; `identity` as in gateway/certificates.py."""

    tenant_id: str
    ae_title: str
    identity: str


def of_tenants(session: Session, tenant_id: str | None = None) -> list[Listed]:
    """What is listed, of one tenant or of all."""
    rows = session.execute(
        "SELECT tenant_id, ae_title, identity FROM calling_certificate "
        "WHERE tenant_id = coalesce(%s, tenant_id) ORDER BY tenant_id, ae_title, identity",
        [tenant_id],
    )
    return [Listed(**row) for row in rows]


def add(session: Session, tenant_id: str, calling: str, certificate: str) -> Listed:
    """List a certificate (PEM, fingerprint or subject); again changes nothing.

    Raises `InvalidInput`, or `NotFound` for a tenant that there is not.
    """
    listed = Listed(tenant_id, ae_title(calling), identity(certificate))
    try:
        session.execute(
            "INSERT INTO calling_certificate (tenant_id, ae_title, identity) VALUES (%s, %s, %s) "
            "ON CONFLICT DO NOTHING",
            [listed.tenant_id, listed.ae_title, listed.identity],
        )
    except psycopg.errors.ForeignKeyViolation as error:
        raise NotFound(f"Tenant {tenant_id!r}.") from error
    return listed


def remove(session: Session, tenant_id: str, calling: str, certificate: str) -> Listed:
    """List it no longer; raises `NotFound` when it was not."""
    listed = Listed(tenant_id, ae_title(calling), identity(certificate))
    removed = session.execute(
        "DELETE FROM calling_certificate WHERE tenant_id = %s AND ae_title = %s AND identity = %s",
        [listed.tenant_id, listed.ae_title, listed.identity],
    )
    if not removed.rowcount:
        raise NotFound(f"{listed.identity} for {calling!r} of {tenant_id!r}.")
    return listed


def is_tls_only(session: Session, tenant_id: str) -> bool:
    """Whether the tenant is reached by TLS alone."""
    row = session.execute(
        "SELECT dicom_tls_only FROM tenant WHERE tenant_id = %s", [tenant_id]
    ).fetchone()
    return bool(row and row["dicom_tls_only"])


def set_tls_only(session: Session, tenant_id: str, wanted: bool) -> None:
    """Reach the tenant by TLS alone, or without it too; raises `NotFound`."""
    changed = session.execute(
        "UPDATE tenant SET dicom_tls_only = %s WHERE tenant_id = %s", [wanted, tenant_id]
    )
    if not changed.rowcount:
        raise NotFound(f"Tenant {tenant_id!r}.")
