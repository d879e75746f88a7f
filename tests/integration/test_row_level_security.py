"""The database refuses too, whatever the application forgets."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from gateway.db import Database

TENANT_TABLES = """
    SELECT c.relname, c.relrowsecurity, pg_get_userbyid(c.relowner) AS owner
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relkind = 'r' AND a.attname = 'tenant_id' AND NOT a.attisdropped
"""


def tables(owner_url: str) -> list[tuple[str, bool, str]]:
    with psycopg.connect(owner_url) as owner:
        return owner.execute(TENANT_TABLES).fetchall()


def test_every_table_with_a_tenant_has_row_level_security(owner_url: str) -> None:
    found = tables(owner_url)
    assert len(found) >= 10
    assert [name for name, secured, _ in found if not secured] == []


def test_the_application_owns_no_table_and_cannot_bypass(owner_url: str) -> None:
    with psycopg.connect(owner_url) as owner:
        roles = owner.execute(
            "SELECT rolsuper OR rolbypassrls FROM pg_roles "
            "WHERE rolname IN ('argonath_app', 'argonath_system')"
        ).fetchall()
    assert roles == [(False,), (False,)]
    assert {owner for _, _, owner in tables(owner_url)} == {"argonath"}


# A row of north's in every table, whatever its columns mean: the checks and foreign keys that would
# refuse an invented one are taken away first. The policies are not.
FILL = """
    DO $$ DECLARE t record; c record; names text; vals text; BEGIN
        SET session_replication_role = replica;
        FOR t IN SELECT conrelid::regclass AS name, conname FROM pg_constraint WHERE contype = 'c'
                 AND connamespace = 'public'::regnamespace LOOP
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', t.name, t.conname);
        END LOOP;
        FOR t IN SELECT a.attrelid::regclass AS name FROM pg_attribute a JOIN pg_class r
                 ON r.oid = a.attrelid AND r.relkind = 'r' AND a.attname = 'tenant_id' LOOP
            names := 'tenant_id'; vals := quote_literal('north');
            FOR c IN SELECT attname, format_type(atttypid, atttypmod) AS type FROM pg_attribute
                     WHERE attrelid = t.name AND attnum > 0 AND NOT attisdropped AND attnotnull
                       AND NOT atthasdef AND attidentity = '' AND attname <> 'tenant_id' LOOP
                names := names || ', ' || quote_ident(c.attname);
                vals := vals || ', ' || quote_literal(CASE
                    WHEN c.type = 'boolean' THEN 'true' WHEN c.type LIKE 'timestamp%' THEN 'now'
                    WHEN c.type = 'uuid' THEN gen_random_uuid()::text
                    WHEN c.type IN ('json', 'jsonb') OR c.type LIKE '%[]' THEN '{}'
                    WHEN c.type = 'bytea' THEN 'x' ELSE '77' END);
            END LOOP;
            EXECUTE format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE VALUES (%s) '
                           'ON CONFLICT DO NOTHING', t.name, names, vals);
        END LOOP;
    END $$
"""


@pytest.fixture
def every_table(database: Database, owner_url: str) -> list[str]:
    """The tables with a tenant; each holds a row of north's."""
    with psycopg.connect(owner_url) as owner:
        owner.execute(FILL)
    names = sorted(name for name, _, _ in tables(owner_url))
    with psycopg.connect(owner_url) as owner:
        for name in names:
            count = owner.execute(
                f"SELECT count(*) FROM {name} WHERE tenant_id = 'north'".encode()
            ).fetchone()
            assert count is not None
            assert count[0] >= 1, f"{name} holds nothing, so nothing would be tried"
    return names


@contextlib.contextmanager
def as_tenant(app_url: str, tenant: str | None) -> Iterator[psycopg.Connection]:
    """A session of the application's; what it does is undone."""
    with psycopg.connect(app_url) as session:
        if tenant:
            session.execute("SELECT set_config('argonath.tenant', %s, false)", [tenant])
        session.commit()
        yield session
        session.rollback()


def tried(session: psycopg.Connection, statement: sql.Composed) -> int:
    """How many rows a statement reached; none where the privilege is missing."""
    try:
        with session.transaction(force_rollback=True):
            return session.execute(statement).rowcount
    except psycopg.errors.InsufficientPrivilege:
        return 0


def reached(every_table: list[str], app_url: str, tenant: str | None) -> set[tuple[str, str]]:
    """What of north's a session reads, deletes or takes away: (table, deed)."""
    found = set()
    own = sql.SQL("WHERE tenant_id = 'north'")
    deeds = ("SELECT 1 FROM {} {}", "DELETE FROM {} {}", "UPDATE {} SET tenant_id = 'south' {}")
    with as_tenant(app_url, tenant) as session:
        for name in every_table:
            for deed in deeds:
                if tried(session, sql.SQL(deed).format(sql.Identifier(name), own)):
                    found.add((name, deed[:6]))
    return found


@pytest.mark.parametrize("tenant", [None, "south", "nobody"])
def test_who_is_not_north_reaches_no_row_of_norths_in_any_table(
    every_table: list[str], app_url: str, tenant: str | None
) -> None:
    assert reached(every_table, app_url, tenant) == set()


def test_north_reaches_its_row_in_every_table(every_table: list[str], app_url: str) -> None:
    """Else whoever reaches nothing at all would pass the test before."""
    with as_tenant(app_url, "north") as session:
        for name in every_table:
            row = session.execute(sql.SQL("SELECT 1 FROM {}").format(sql.Identifier(name)))
            assert row.fetchone(), name


def written(every_table: list[str], app_url: str, owner_url: str, tenant: str | None) -> list[str]:
    """The tables that take a copy of north's row; keys clash only after the policy was asked."""
    found = []
    with psycopg.connect(owner_url) as owner, as_tenant(app_url, tenant) as session:
        for name in every_table:
            columns = owner.execute(
                "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 "
                "AND NOT attisdropped AND attgenerated = ''",
                [name],
            ).fetchall()
            table = sql.Identifier(name)
            listed = sql.SQL(", ").join(sql.Identifier(column) for (column,) in columns)
            row = owner.execute(
                sql.SQL("SELECT to_jsonb(t) FROM {} t WHERE tenant_id = 'north'").format(table)
            ).fetchone()
            assert row is not None
            copy = sql.SQL(
                "INSERT INTO {0} ({1}) OVERRIDING SYSTEM VALUE SELECT {1} FROM "
                "jsonb_populate_record(NULL::{0}, %s)"
            ).format(table, listed)
            try:
                with session.transaction(force_rollback=True):
                    session.execute(copy, [psycopg.types.json.Jsonb(row[0])])
                found.append(name)
            except psycopg.errors.InsufficientPrivilege:
                pass
            except psycopg.Error as error:
                found.append(f"{name}: {type(error).__name__}")
    return found


@pytest.mark.parametrize("tenant", [None, "south"])
def test_nobody_writes_a_row_for_north(
    every_table: list[str], app_url: str, owner_url: str, tenant: str | None
) -> None:
    assert written(every_table, app_url, owner_url, tenant) == []


HOLES = {
    "no security": ("ALTER TABLE job DISABLE ROW LEVEL SECURITY", "job"),
    "all may read": ("CREATE POLICY x ON study FOR SELECT TO argonath_app USING (true)", "study"),
    "all may write": (
        "CREATE POLICY x ON credential FOR INSERT TO argonath_app WITH CHECK (true)",
        "credential",
    ),
}


@pytest.mark.parametrize("hole", list(HOLES))
def test_a_hole_that_is_planted_is_found(
    every_table: list[str], app_url: str, owner_url: str, hole: str
) -> None:
    statement, table = HOLES[hole]
    with psycopg.connect(owner_url) as owner:
        owner.execute(statement.encode())
    found = {name for name, _deed in reached(every_table, app_url, "south")}
    found |= {name.partition(":")[0] for name in written(every_table, app_url, owner_url, "south")}
    assert found == {table}


def test_the_application_reads_no_table_without_row_level_security_but_the_migrations(
    owner_url: str,
) -> None:
    with psycopg.connect(owner_url) as owner:
        rows = owner.execute(
            "SELECT c.relname FROM pg_class c WHERE c.relkind IN ('r', 'v', 'm', 'p') "
            "AND c.relnamespace = 'public'::regnamespace AND NOT c.relrowsecurity "
            "AND has_any_column_privilege('argonath_app', c.oid, 'SELECT, INSERT, UPDATE')"
        ).fetchall()
    assert rows == [("migration",)]


def test_a_tenant_sees_its_own_rows_alone(database: Database) -> None:
    with database.tenant_session("north") as north:
        seen = [row["tenant_id"] for row in north.execute("SELECT tenant_id FROM tenant")]
    assert seen == ["north"]


def test_a_tenant_cannot_write_a_row_of_another(database: Database) -> None:
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        database.tenant_session("north") as north,
    ):
        north.execute("INSERT INTO called_ae_title VALUES ('STOLEN', 'south')")


def test_the_tenant_of_a_session_ends_with_its_transaction(database: Database) -> None:
    with database.tenant_session("north"):
        pass
    with database._session(sql.SQL("BEGIN").format()) as next_user:
        assert next_user.execute("SELECT current_tenant() AS t").fetchone() == {"t": None}


def test_the_application_can_neither_change_nor_delete_an_audit_record(database: Database) -> None:
    for statement in ("UPDATE audit SET actor = 'nobody'", "DELETE FROM audit"):
        with (
            pytest.raises(psycopg.errors.InsufficientPrivilege),
            database.system_session("test") as session,
        ):
            session.execute(statement.encode())
