"""Tenants, and which AE title and address belongs to whom."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

import psycopg.errors

from gateway.certificates import Certificate
from gateway.db import Database, Session
from gateway.errors import (
    CertificateRequired,
    Conflict,
    InvalidInput,
    UnknownAETitle,
    UnknownCertificate,
)

TENANT_ID = re.compile(r"[a-z][a-z0-9-]{0,30}")


@dataclass(frozen=True)
class Tenant:
    """A hospital or department whose studies nobody else sees."""

    tenant_id: str
    title: str
    ae_titles: tuple[str, ...] = ()


@dataclass(frozen=True)
class CallingAE:
    """A modality or PACS that may call a tenant."""

    ae_title: str
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None
    may_query: bool = False
    host: str | None = None
    port: int | None = None

    def is_at(self, address: str) -> bool:
        """Whether this AE may call from `address`; an unreadable address is nobody's."""
        if self.network is None:
            return True
        try:
            return ipaddress.ip_address(address) in self.network
        except ValueError:
            return False


@dataclass(frozen=True)
class Directory:
    """All AE titles at one moment. Pure: loaded by `load`, replaced when told of a change."""

    called: Mapping[str, str] = field(default_factory=dict)
    calling: Mapping[str, tuple[CallingAE, ...]] = field(default_factory=dict)
    # (tenant, calling AE title) -> `Certificate.identities`
    certificates: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    tls_only: frozenset[str] = frozenset()

    @classmethod
    def load(cls, session: Session, *, plain: bool = True) -> Self:
        """Read the directory in a system session; without `plain`, everybody is `tls_only`."""
        called = {
            row["ae_title"]: row["tenant_id"]
            for row in session.execute("SELECT ae_title, tenant_id FROM called_ae_title")
        }
        calling: dict[str, tuple[CallingAE, ...]] = {}
        for row in session.execute(
            "SELECT tenant_id, ae_title, network, may_query, host, port FROM calling_ae_title"
        ):
            entry = CallingAE(
                row["ae_title"], row["network"], row["may_query"], row["host"], row["port"]
            )
            calling[row["tenant_id"]] = (*calling.get(row["tenant_id"], ()), entry)
        certificates: dict[tuple[str, str], frozenset[str]] = {}
        for row in session.execute("SELECT tenant_id, ae_title, identity FROM calling_certificate"):
            key = (row["tenant_id"], row["ae_title"])
            certificates[key] = certificates.get(key, frozenset()) | {row["identity"]}
        tls_only = session.execute(
            "SELECT tenant_id FROM tenant WHERE dicom_tls_only OR NOT %s", [plain]
        )
        return cls(called, calling, certificates, frozenset(row["tenant_id"] for row in tls_only))

    def tenant_of_store(
        self, called: str, calling: str, address: str, certificate: Certificate | None = None
    ) -> str:
        """Who receives a C-STORE; `certificate` is None where it did not come by TLS.

        Raises `UnknownAETitle`, `UnknownCertificate` or `CertificateRequired`. A tenant that lists
        no calling AE titles accepts every caller of its own AE title.
        """
        tenant_id = self._tenant_called(called, calling, certificate)
        callers = self.calling.get(tenant_id, ())
        if callers and not any(c.ae_title == calling and c.is_at(address) for c in callers):
            raise UnknownAETitle(f"Called {called!r}, calling {calling!r} from {address}.")
        return tenant_id

    def tenant_of_query(
        self, called: str, calling: str, address: str = "", certificate: Certificate | None = None
    ) -> str:
        """Whose studies a C-FIND or C-MOVE sees; raises as `tenant_of_store`.

        A query needs a calling AE title that is listed for it. Its address is known, and looked
        at, only by TLS: Orthanc tells none here.
        """
        tenant_id = self._tenant_called(called, calling, certificate)
        callers = self.calling.get(tenant_id, ())
        if not any(
            c.ae_title == calling and c.may_query and (certificate is None or c.is_at(address))
            for c in callers
        ):
            raise UnknownAETitle(f"Called {called!r}, calling {calling!r}: no right to query.")
        return tenant_id

    def tenant_of_commitment(
        self, called: str, calling: str, address: str = "", certificate: Certificate | None = None
    ) -> str:
        """Whose instances an N-ACTION asks about; raises as `tenant_of_store`.

        The answer goes to the host and port that are listed for the calling AE title, so there
        must be some; whoever only pretends to be it learns nothing. Address: as `tenant_of_query`.
        """
        tenant_id = self._tenant_called(called, calling, certificate)
        callers = self.calling.get(tenant_id, ())
        if not any(
            c.ae_title == calling
            and c.host
            and c.port
            and (certificate is None or c.is_at(address))
            for c in callers
        ):
            raise UnknownAETitle(f"Called {called!r}, calling {calling!r}: nowhere to answer to.")
        return tenant_id

    def _tenant_called(self, called: str, calling: str, certificate: Certificate | None) -> str:
        tenant_id = self.called.get(called)
        if tenant_id is None:
            raise UnknownAETitle(f"Called {called!r}.")
        if certificate is None:
            if tenant_id in self.tls_only:
                raise CertificateRequired(f"Called {called!r}, calling {calling!r}.")
        elif not certificate.identities & self.certificates.get((tenant_id, calling), frozenset()):
            raise UnknownCertificate(f"Called {called!r}, calling {calling!r}.")
        return tenant_id


def label_of(tenant_id: str) -> str:
    """The Orthanc label by which a search is narrowed to a tenant. A filter, not the owner."""
    return f"tenant-{tenant_id}"


def create_tenant(
    database: Database, tenant_id: str, title: str, ae_titles: Iterable[str] = ()
) -> Tenant:
    """Add a tenant that answers under `ae_titles`; raises `InvalidInput` or `Conflict`."""
    if not TENANT_ID.fullmatch(tenant_id):
        raise InvalidInput(
            f"Tenant {tenant_id!r}: lower-case letters, digits and '-', at most 31, "
            "beginning with a letter."
        )
    titles = tuple(ae_title(value) for value in ae_titles)
    try:
        with database.system_session("create tenant") as session:
            session.execute(
                "INSERT INTO tenant (tenant_id, title) VALUES (%s, %s)", [tenant_id, title]
            )
            for value in titles:
                session.execute(
                    "INSERT INTO called_ae_title (ae_title, tenant_id) VALUES (%s, %s)",
                    [value, tenant_id],
                )
    except psycopg.errors.UniqueViolation as error:
        raise Conflict(f"Tenant {tenant_id!r} or one of its AE titles is taken.") from error
    return Tenant(tenant_id, title, titles)


def ae_title(value: str) -> str:
    """A valid AE title (PS3.5 section 6.2: 1 to 16 characters, no backslash), or `InvalidInput`."""
    value = value.strip()
    if not re.fullmatch(r"[ -\[\]-~]{1,16}", value):
        raise InvalidInput(f"AE title {value!r}: 1 to 16 ASCII characters, no backslash.")
    return value


def list_tenants(session: Session) -> list[Tenant]:
    """The tenants that `session` may see, with their AE titles."""
    rows = session.execute(
        """
        SELECT t.tenant_id, t.title,
               coalesce(array_agg(a.ae_title ORDER BY a.ae_title)
                        FILTER (WHERE a.ae_title IS NOT NULL), '{}') AS ae_titles
        FROM tenant t LEFT JOIN called_ae_title a USING (tenant_id)
        GROUP BY t.tenant_id, t.title ORDER BY t.tenant_id
        """
    )
    return [Tenant(r["tenant_id"], r["title"], tuple(r["ae_titles"])) for r in rows]
