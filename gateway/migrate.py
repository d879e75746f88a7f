"""Bring the database to the present schema: numbered SQL files, the kernel's first.

Runs as the owner (`ARGONATH_DATABASE_ADMIN_URL`); creates the database and the two roles when
they are missing. A file that ran is remembered with its checksum and never runs again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from gateway.errors import BrokenMigration
from gateway.plugins import Extension

_ROLES = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'argonath_system') THEN
        CREATE ROLE argonath_system NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'argonath_app') THEN
        CREATE ROLE argonath_app LOGIN NOINHERIT;
    END IF;
    GRANT argonath_system TO argonath_app WITH INHERIT FALSE, SET TRUE;
END $$
"""
_LEDGER = """
CREATE TABLE IF NOT EXISTS migration (
    name        text PRIMARY KEY,
    checksum    text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT ON migration TO argonath_app;
"""


@dataclass(frozen=True)
class Migration:
    """One numbered SQL file, e.g. ``kernel/0001_kernel.sql``."""

    name: str
    statements: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the file, by which a changed one is found out."""
        return hashlib.sha256(self.statements.encode()).hexdigest()


def migrations(extensions: Sequence[Extension]) -> list[Migration]:
    """Every migration in the order in which it runs."""
    found = _files("kernel", "gateway")
    for extension in extensions:
        found += _files(extension.name, extension.package)
    return found


def migrate(admin_url: str, app_url: str, wanted: Sequence[Migration]) -> list[str]:
    """Run what has not run yet; the names of what was run. Safe to call at every start."""
    database = str(conninfo_to_dict(app_url)["dbname"])
    with psycopg.connect(admin_url, autocommit=True) as server:
        server.execute("SELECT pg_advisory_lock(4242002)")  # one at a time, until we disconnect
        server.execute(_ROLES)
        known = server.execute("SELECT FROM pg_database WHERE datname = %s", [database])
        if known.fetchone() is None:
            server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        with psycopg.connect(make_conninfo(admin_url, dbname=database)) as connection:
            return _apply(connection, wanted)


def _apply(connection: psycopg.Connection, wanted: Sequence[Migration]) -> list[str]:
    """All that is missing, or nothing: one transaction."""
    connection.execute(_LEDGER)
    rows = connection.execute("SELECT name, checksum FROM migration").fetchall()
    done: dict[str, str] = dict(rows)
    applied: list[str] = []
    for migration in wanted:
        if migration.name not in done:
            _run(connection, migration)
            connection.execute(
                "INSERT INTO migration (name, checksum) VALUES (%s, %s)",
                [migration.name, migration.checksum],
            )
            applied.append(migration.name)
        elif done[migration.name] != migration.checksum:
            raise BrokenMigration(f"{migration.name} was changed after it ran.")
    return applied


def _run(connection: psycopg.Connection, migration: Migration) -> None:
    try:
        connection.execute(migration.statements.encode())
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        raise BrokenMigration(f"{migration.name}: {error}.") from error


def pending(app_url: str, wanted: Sequence[Migration]) -> list[str]:
    """Which migrations have not run yet."""
    with psycopg.connect(app_url) as connection:
        done = {row[0] for row in connection.execute("SELECT name FROM migration")}
    return [migration.name for migration in wanted if migration.name not in done]


def _files(name: str, package: str) -> list[Migration]:
    folder = files(package) / "schema"
    if not folder.is_dir():
        return []
    scripts = sorted(
        (entry for entry in folder.iterdir() if entry.name.endswith(".sql")),
        key=lambda entry: entry.name,
    )
    return [Migration(f"{name}/{script.name}", script.read_text()) for script in scripts]
