"""The first start: two tenants to try the gateway with, somebody to sign in, and studies to see."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from pathlib import Path

import httpx

from gateway import identity, tenancy
from gateway.db import Database
from gateway.errors import ArchiveUnavailable
from gateway.settings import Settings

ADMIN = "admin@argonath.example"
NORTH_USER = "north@argonath.example"
TENANTS = {"north": "North Hospital", "south": "South Clinic"}
_BOUNDARY = "argonath-first-start"
_STOW = 'multipart/related; type="application/dicom"; boundary='


def prepare(settings: Settings, database: Database) -> None:
    """Make tenants and people if there are none, and send the sample studies; may be repeated."""
    from gateway.phantom import ct_phantom  # pydicom, for which every command would wait

    with database.system_session("first start") as session:
        tenants = tenancy.list_tenants(session)
    if not tenants:
        _make_tenants(settings, database)
    _send(settings, "north", ct_phantom())
    _send(settings, "north", _pydicom_file("CT_small.dcm"))
    _send(settings, "south", _pydicom_file("MR_small.dcm"))


def welcome_text(settings: Settings) -> str:
    """Where to go and how to sign in."""
    url = settings.url
    password = _password_file(settings)
    lines = [
        "Argonath is ready.",
        f"  Portal      {url}/",
        f"  DICOMweb    {url}/dicom-web",
    ]
    if settings.dicom_plain:
        lines.append(f"  DICOM       port {settings.dicom_port}, called AE title NORTH or SOUTH")
    if settings.dicom_tls_port:
        lines.append(f"  DICOM, TLS  port {settings.dicom_tls_port}, with a client certificate")
    if password.exists():
        lines += [
            f"  Sign in as  {NORTH_USER} (a tenant's admin) or {ADMIN} (the system's)",
            f"  Password    {password.read_text().strip()}",
        ]
    else:
        lines.append("  Sign in as  whom `./argonath user create` makes")
    lines.append("  API key     ./argonath api-key create --tenant north --role member")
    return "\n".join(lines)


def _make_tenants(settings: Settings, database: Database) -> None:
    for tenant_id, title in TENANTS.items():
        tenancy.create_tenant(database, tenant_id, title, [tenant_id.upper()])
    password = secrets.token_urlsafe(12)
    file = _password_file(settings)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.write_text(password + "\n")
    with database.system_session("first start") as session:
        identity.create_person(session, ADMIN, password, system_admin=True)
        person = identity.create_person(session, NORTH_USER, password)
        identity.add_member(session, person, "north", identity.Role.ADMIN)


def _password_file(settings: Settings) -> Path:
    return settings.data / "secrets" / "first_password"


def _pydicom_file(name: str) -> list[bytes]:
    """A real image that pydicom's package ships."""
    from pydicom.data import get_testdata_file

    path = get_testdata_file(name, download=False)
    return [Path(str(path)).read_bytes()] if path else []


def _send(settings: Settings, tenant_id: str, files: Iterable[bytes]) -> None:
    head = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    body = b"".join(head + file + b"\r\n" for file in files) + f"--{_BOUNDARY}--".encode()
    try:
        answer = httpx.post(
            f"{settings.orthanc_url}/dicom-web/studies",
            content=body,
            headers={
                "Authorization": f"Bearer {settings.internal_token}",
                "X-Argonath-Tenant": tenant_id,
                "Content-Type": _STOW + _BOUNDARY,
                "Accept": "application/dicom+json",
            },
            timeout=60,
        )
    except httpx.TransportError as error:
        raise ArchiveUnavailable(type(error).__name__) from error
    if answer.status_code != 200:
        raise ArchiveUnavailable(f"The sample studies: HTTP {answer.status_code}.")
