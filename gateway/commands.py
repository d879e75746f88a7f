"""What each command of `argonath` does."""

from __future__ import annotations

import getpass
import json
import sys
import time
from argparse import Namespace
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import psycopg

from gateway import audit, demo, identity, tenancy
from gateway.audit import Record
from gateway.db import Database
from gateway.errors import DatabaseUnavailable, InvalidInput
from gateway.identity import Role
from gateway.migrate import migrate, migrations, pending
from gateway.plugins import discover
from gateway.settings import Settings

type Command = Callable[[Settings, Namespace], int | None]


@contextmanager
def _database(settings: Settings) -> Iterator[Database]:
    database = Database(settings.database_url, max_size=2)
    try:
        yield database
    finally:
        database.close()


def status(settings: Settings, options: Namespace) -> int:
    """Print the readiness of every part; 1 unless all are ready."""
    try:
        answer = httpx.get(f"http://127.0.0.1:{settings.http_port}/health", timeout=10)
        report = answer.json()
    except (httpx.TransportError, ValueError):
        report = {"status": "down", "parts": {}}
    if options.json:
        print(json.dumps(report))
    else:
        print(f"Gateway: {report['status']}")
        for part, state in report["parts"].items():
            print(f"  {part:<12}{state}")
        if report["status"] == "down":
            print("Nothing answers; start it with `make run`.")
    return 0 if report["status"] == "ready" else 1


def migrate_database(settings: Settings, _options: Namespace) -> None:
    """Run the migrations that have not run yet."""
    wanted = migrations(discover(settings.blocked_extensions))
    try:
        applied = migrate(settings.database_admin_url, settings.database_url, wanted)
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(str(error)) from error
    print(f"Applied: {', '.join(applied)}" if applied else "The schema is up to date.")


def wait(settings: Settings, options: Namespace) -> None:
    """Return when the database answers and its schema is current."""
    wanted = migrations(discover(settings.blocked_extensions))
    end = time.monotonic() + options.seconds
    while time.monotonic() < end:
        try:
            if not pending(settings.database_url, wanted):
                return
        except psycopg.Error:
            pass
        time.sleep(0.1)
    raise DatabaseUnavailable(f"Not ready within {options.seconds:g} s.")


def welcome(settings: Settings, _options: Namespace) -> None:
    """Print where the gateway is and how to sign in."""
    print(demo.welcome_text(settings))


def load_demo(settings: Settings, _options: Namespace) -> None:
    """Make the demonstration tenants, two people and the sample studies; again: no change."""
    with _database(settings) as database:
        demo.prepare(settings, database)


def logs(settings: Settings, options: Namespace) -> None:
    """Print the last lines of every part's log."""
    for file in sorted((settings.data / "log").glob("*.log")):
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


def key_create(settings: Settings, options: Namespace) -> None:
    """Print a new key, alone, for scripts."""
    if (options.tenant is None) != (options.role is Role.SYSTEM_ADMIN):
        raise InvalidInput("Give --tenant, or --role system-admin without a tenant.")
    with _database(settings) as database, database.system_session("api-key create") as session:
        token = identity.create_api_key(session, options.tenant, options.role, label=options.label)
        audit.append(session, _record("create-key", options.label or "key", options.tenant))
    print(token)


def key_revoke(settings: Settings, options: Namespace) -> None:
    """Revoke a key by itself or by its number."""
    number = int(options.key) if options.key.isdigit() else 0
    with _database(settings) as database, database.system_session("api-key revoke") as session:
        identity.revoke_api_key(session, token=options.key, credential_id=number)
        audit.append(session, _record("revoke-key", f"key {number}" if number else "key", None))
    print("Revoked.")


def user_create(settings: Settings, options: Namespace) -> None:
    """Add somebody; the password comes from the terminal or standard input."""
    if (options.tenant is None) != options.system_admin:
        raise InvalidInput("Give --tenant, or --system-admin without a tenant.")
    read = getpass.getpass if sys.stdin.isatty() else lambda _: sys.stdin.readline().rstrip("\n")
    password = read("Password: ")
    with _database(settings) as database, database.system_session("user create") as session:
        person = identity.create_person(
            session, options.email, password, system_admin=options.system_admin
        )
        if options.tenant:
            identity.add_member(session, person, options.tenant, options.role)
        audit.append(session, _record("create-user", options.email, options.tenant))
    print(f"{options.email} may sign in.")


def audit_verify(settings: Settings, _options: Namespace) -> int:
    """Check the hash chain; 1 when it is broken."""
    with _database(settings) as database, database.system_session("audit verify") as session:
        broken = audit.verify(session)
    print("The chain holds." if broken is None else f"The chain breaks at record {broken}.")
    return 0 if broken is None else 1


def _record(action: str, resource: str, tenant_id: str | None) -> Record:
    return Record("command line", action, resource, "allowed", tenant_id)
