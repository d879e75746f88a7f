"""The database refuses too, whatever the application forgets."""

from __future__ import annotations

import psycopg
import pytest

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


def test_a_session_without_a_tenant_sees_zero_rows_of_every_table(
    database: Database, owner_url: str, app_url: str
) -> None:
    with psycopg.connect(app_url) as nobody:
        for name, _, _ in tables(owner_url):
            count = nobody.execute(f"SELECT count(*) FROM {name}".encode()).fetchone()
            assert count == (0,), name


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
    with database._session() as next_user:
        assert next_user.execute("SELECT current_tenant() AS t").fetchone() == {"t": None}


def test_the_application_can_neither_change_nor_delete_an_audit_record(database: Database) -> None:
    for statement in ("UPDATE audit SET actor = 'nobody'", "DELETE FROM audit"):
        with (
            pytest.raises(psycopg.errors.InsufficientPrivilege),
            database.system_session("test") as session,
        ):
            session.execute(statement.encode())
