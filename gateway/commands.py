"""What each command of `argonath` does."""

from __future__ import annotations

import getpass
import json
import socket
import sys
from argparse import Namespace
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg

from gateway import audit, calling_certificates, demo, identity, tenancy
from gateway.audit import Record
from gateway.audit.chain import Anchor, last_seal, stands
from gateway.audit.export import NAMES_PATIENTS, WITH_PATIENTS, lines
from gateway.audit.search import Search, stream
from gateway.db import Database
from gateway.errors import DatabaseUnavailable, GatewayNotRunning, InvalidInput, NotFound
from gateway.identity import Role
from gateway.migrate import migrate, migrations
from gateway.plugins import discover
from gateway.settings import Settings

type Command = Callable[[Settings, Namespace], int | None]


@contextmanager
def _database(settings: Settings) -> Iterator[Database]:
    _require_database(settings)
    database = Database(settings.database_url, max_size=2)
    try:
        yield database
    finally:
        database.close()


def _require_database(settings: Settings) -> None:
    """Say at once why nothing can be done, where the pool would try for seconds."""
    try:
        psycopg.connect(settings.database_url, connect_timeout=5).close()
    except psycopg.OperationalError as error:
        if _supervised(settings):
            raise DatabaseUnavailable from error
        raise GatewayNotRunning from error


def _supervised(settings: Settings) -> bool:
    """Whether the gateway of this data directory runs, be it just starting."""
    return _answers(settings.data / "run/supervisor.sock")


def _answers(path: Path) -> bool:
    """Whether somebody listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def status(settings: Settings, options: Namespace) -> int:
    """Print the readiness of every part; 1 unless all are ready."""
    report = _health(settings)
    if options.json:
        print(json.dumps(report))
        return 0 if report["status"] == "ready" else 1
    if report["status"] == "not running":
        raise GatewayNotRunning
    print(f"Gateway: {report['status']}, {settings.url}")
    for part, state in report["parts"].items():
        print(f"  {part:<12}{state}")
    print(f"Look-ups in the archive: {report['archive_index']}")
    return 0 if report["status"] == "ready" else 1


def _health(settings: Settings) -> dict[str, Any]:
    """`{"status": ..., "parts": {name: state}}`, by the socket that is this gateway's alone."""
    path = settings.data / "run/portal.sock"
    silent = {
        "status": "not ready",
        "parts": {"portal": "does not answer"},
        "archive_index": "unknown",
    }
    if not _answers(path):  # asked first: httpcore leaves a socket open that it could not connect
        return silent if _supervised(settings) else {"status": "not running", "parts": {}}
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), timeout=10) as portal:
            report: dict[str, Any] = portal.get("http://portal/health").json()
    except (httpx.TransportError, ValueError):
        return silent
    ports = {"nginx": settings.http_port, "dicom-tls": settings.dicom_tls_port}
    for part, port in ports.items() if _supervised(settings) else ():
        with socket.socket() as probe:
            if port and probe.connect_ex(("127.0.0.1", port)):
                report |= {"status": "not ready"}
                report["parts"] |= {part: "does not answer"}
    return report | {"archive_index": _archive_index(settings)}


def _archive_index(settings: Settings) -> str:
    """What the node found at its start (orthanc_plugins/index_statistics.py)."""
    try:
        return (settings.data / "run/archive-index").read_text().strip()
    except OSError:
        return "unknown"


def migrate_database(settings: Settings, _options: Namespace) -> None:
    """Run the migrations that have not run yet."""
    wanted = migrations(discover(settings.blocked_extensions))
    try:
        applied = migrate(settings.database_admin_url, settings.database_url, wanted)
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable if _supervised(settings) else GatewayNotRunning from error
    print(f"Applied: {', '.join(applied)}" if applied else "The schema is up to date.")


def welcome(settings: Settings, _options: Namespace) -> None:
    """Print where the gateway is and how to sign in."""
    print(demo.welcome_text(settings))


def load_demo(settings: Settings, _options: Namespace) -> None:
    """Make the demonstration tenants, two people and the sample studies; again: no change."""
    with _database(settings) as database:
        demo.prepare(settings, database)


def logs(settings: Settings, options: Namespace) -> None:
    """Print the last lines of every part's log, also of a gateway that was stopped."""
    files = sorted((settings.data / "log").glob("*.log"))
    if not files:
        raise GatewayNotRunning
    for file in files:
        with file.open(errors="replace") as lines:
            for line in deque(lines, options.lines):
                print(f"{file.stem:<12} {line}", end="")


def tenant_create(settings: Settings, options: Namespace) -> None:
    """Add a tenant; without --ae-title its name in capitals is its AE title."""
    titles = options.ae_title or [options.tenant.upper()[:16]]
    with _database(settings) as database:
        tenant = tenancy.create_tenant(
            database, options.tenant, options.title or options.tenant.title(), titles
        )
        with database.system_session("audit") as session:
            audit.append(session, _record("create-tenant", tenant.tenant_id, tenant.tenant_id))
    print(f"Tenant {tenant.tenant_id} answers as {', '.join(tenant.ae_titles)}.")


def tenant_list(settings: Settings, _options: Namespace) -> None:
    """List the tenants with their AE titles."""
    with _database(settings) as database, database.system_session("list tenants") as session:
        for tenant in tenancy.list_tenants(session):
            print(f"{tenant.tenant_id:<32}{', '.join(tenant.ae_titles):<34}{tenant.title}")


def tenant_tls(settings: Settings, options: Namespace) -> None:
    """Reach a tenant by DICOM over TLS alone, or without TLS too."""
    only = options.tls == "only"
    with _database(settings) as database, database.system_session("tenant tls") as session:
        calling_certificates.set_tls_only(session, options.tenant, only)
        audit.append(session, _record("set-tls-only", f"only {only}", options.tenant))
    print(f"Tenant {options.tenant} is reached {'by TLS alone' if only else 'without TLS too'}.")


def certificate_change(settings: Settings, options: Namespace) -> None:
    """List a client certificate for a calling AE title, or list it no longer."""
    verb = options.verb
    shown = sys.stdin.read() if options.certificate == "-" else options.certificate
    change = {"add": calling_certificates.add, "remove": calling_certificates.remove}[verb]
    with _database(settings) as database, database.system_session("certificate") as session:
        listed = change(session, options.tenant, options.ae_title, shown)
        detail = f"{listed.ae_title} {listed.identity}"
        audit.append(session, _record(f"{verb}-certificate", detail, options.tenant))
    print(f"{listed.tenant_id} {listed.ae_title} {listed.identity}")


def certificate_list(settings: Settings, _options: Namespace) -> None:
    """List the client certificates, each with its tenant and calling AE title."""
    with _database(settings) as database, database.system_session("certificates") as session:
        for listed in calling_certificates.of_tenants(session):
            print(f"{listed.tenant_id:<32}{listed.ae_title:<17}{listed.identity}")


def key_create(settings: Settings, options: Namespace) -> None:
    """Print a new key, alone, for scripts."""
    role = Role(options.role)
    if (options.tenant is None) != (role is Role.SYSTEM_ADMIN):
        raise InvalidInput("Give --tenant, or --role system-admin without a tenant.")
    with _database(settings) as database, database.system_session("api-key create") as session:
        days = options.expires_days
        expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
        token = identity.create_api_key(
            session, options.tenant, role, label=options.label, expires_at=expires_at
        )
        audit.append(session, _record("create-key", options.label or "key", options.tenant))
    print(token)


def key_list(settings: Settings, options: Namespace) -> None:
    """List the keys by number: whose, until when, last used; never the keys themselves."""
    with _database(settings) as database, database.system_session("api-key list") as session:
        for key in identity.api_keys(session, options.tenant):
            state = "revoked" if key["revoked_at"] else _day(key["expires_at"], "no expiry")
            print(
                f"{key['credential_id']:<7}{key['tenant_id'] or '-':<32}{key['role']:<14}"
                f"{state:<12}{_day(key['last_used_at'], 'never used'):<12}{key['label']}"
            )


def _day(moment: datetime | None, otherwise: str) -> str:
    return f"{moment:%Y-%m-%d}" if moment else otherwise


def key_revoke(settings: Settings, options: Namespace) -> None:
    """Revoke a key by itself or by its number."""
    number = int(options.key) if options.key.isdecimal() else 0
    with _database(settings) as database, database.system_session("api-key revoke") as session:
        identity.revoke_api_key(session, token=options.key, credential_id=number)
        audit.append(session, _record("revoke-key", f"key {number}" if number else "key", None))
    print("Revoked.")


def user_create(settings: Settings, options: Namespace) -> None:
    """Add somebody; the password comes from the terminal or standard input."""
    if (options.tenant is None) != options.system_admin:
        raise InvalidInput("Give --tenant, or --system-admin without a tenant.")
    with _database(settings) as database, database.system_session("user create") as session:
        known = {tenant.tenant_id for tenant in tenancy.list_tenants(session)}
        if options.tenant and options.tenant not in known:
            raise NotFound(f"Tenant {options.tenant!r}.")
        password = _password()
        person = identity.create_person(
            session, options.email, password, system_admin=options.system_admin
        )
        if options.tenant:
            identity.add_member(session, person, options.tenant, Role(options.role))
        audit.append(session, _record("create-user", options.email, options.tenant))
    print(f"{options.email} may sign in.")


def _password() -> str:
    read = getpass.getpass if sys.stdin.isatty() else lambda _: sys.stdin.readline().rstrip("\n")
    return read("Password: ")


def audit_verify(settings: Settings, options: Namespace) -> int:
    """Check the hash chain, and that the records of known seals are in it; 1 when it is broken."""
    anchor = Anchor(settings.data / "audit/anchor.json").read()
    known = [seal for seal in (anchor, *options.seal) if seal is not None]
    with _database(settings) as database, database.system_session("audit verify") as session:
        broken = audit.verify(session)
        missing = [seal for seal in known if not stands(session, seal)]
        last = last_seal(session)
    if broken is not None:
        print(f"The chain breaks at record {broken}.")
    for seal in missing:
        print(f"Record {seal.audit_id} is gone or not what it was; its seal was {seal}.")
    if anchor is None:
        print("There is no anchor: that the newest records were removed could not be seen.")
    if broken is not None or missing:
        return 1
    print(f"The chain holds: {last.audit_id} records. Keep this seal elsewhere: {last}")
    return 0


def audit_export(settings: Settings, options: Namespace) -> None:
    """Print records, the oldest first, one a line."""
    search = Search.parse({"since": options.since, "until": options.until})
    tenant, patients = options.tenant or "", options.format in WITH_PATIENTS
    exported = _record("export-audit", f"audit as {options.format}", tenant or None)
    if patients:
        exported = replace(exported, detail=NAMES_PATIENTS)
    with _database(settings) as database:
        with database.system_session("audit export") as session:
            audit.append(session, exported)
        with database.system_session("audit export") as session:
            rows = stream(session, replace(search, tenant_id=tenant), patients=patients)
            sys.stdout.writelines(lines(rows, options.format))


def _record(action: str, resource: str, tenant_id: str | None) -> Record:
    return Record("command line", action, resource, "allowed", tenant_id)
