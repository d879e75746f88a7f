"""Sessions: of one tenant at a time, and on a connection that answers."""

from __future__ import annotations

from contextlib import suppress

import psycopg
import pytest

from gateway.db import Database
from gateway.errors import DatabaseUnavailable

TENANT = "SELECT current_setting('argonath.tenant', true) AS tenant, pg_backend_pid() AS pid"


def test_a_tenant_is_only_ever_a_name(database: Database) -> None:
    for tenant in ("north", "o'north\\", "'; DROP TABLE study; --"):
        with database.tenant_session(tenant) as session:
            row = session.execute(TENANT).fetchone()
            assert row is not None
            assert row["tenant"] == tenant


def test_what_an_exception_leaves_is_undone(database: Database) -> None:
    east = "SELECT FROM tenant WHERE tenant_id = 'east'"
    with suppress(RuntimeError), database.system_session("test") as session:
        session.execute("INSERT INTO tenant (tenant_id, title) VALUES ('east', 'East')")
        assert session.execute(east).fetchone() is not None
        raise RuntimeError
    with database.system_session("test") as session:
        assert session.execute(east).fetchone() is None


def test_connections_that_were_ended_meanwhile_are_replaced(
    database: Database, owner_url: str
) -> None:
    with (
        database.tenant_session("north") as one,
        database.tenant_session("north") as other,
    ):
        pids = [session.execute(TENANT).fetchone() for session in (one, other)]
    with psycopg.connect(owner_url) as owner:
        for row in pids:
            assert row is not None
            owner.execute("SELECT pg_terminate_backend(%s, 5000)", [row["pid"]])
    with database.tenant_session("north") as session:
        row = session.execute(TENANT).fetchone()
    assert row is not None
    assert row["pid"] not in {each["pid"] for each in pids if each is not None}


def test_no_database_is_said_once_the_time_is_over() -> None:
    database = Database("host=/nowhere dbname=none", timeout_s=0.2)
    with pytest.raises(DatabaseUnavailable), database.tenant_session("north"):
        pass
    database.close()
