"""Whoever owns the database can change the audit; that it was changed is found."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from psycopg.types.json import Jsonb

from gateway import audit, correlation
from gateway.audit import Record
from gateway.audit.chain import Anchor, last_seal, stands
from gateway.db import Database
from orthanc_plugins import reads
from tests.integration.worker_host import until

# As 0005_audit.sql found them: sealed without a correlation id.
OLD_RECORDS = """
    INSERT INTO audit (audit_id, at, tenant_id, actor, action, resource, verdict, hash)
    VALUES (1, '2026-01-01', 'north', 'a', 'sign-in', 'person a', 'allowed',
            sha256(convert_to(jsonb_build_array(1, extract(epoch FROM '2026-01-01'::timestamptz),
                   'north', 'a', 'sign-in', 'person a', 'allowed', '', '')::text, 'UTF8')))
"""
SWAP = """
    UPDATE audit a SET actor = b.actor, at = b.at, correlation = b.correlation, hash = b.hash
    FROM audit b WHERE (a.audit_id, b.audit_id) IN ((2, 3), (3, 2))
"""
INSERT = """
    INSERT INTO audit SELECT 5, now(), 'north', 'x', action, resource, verdict, origin, detail,
                             hash, correlation FROM audit WHERE audit_id = 4
"""
# What somebody does who has read how the chain is made.
FORGE = """
    DO $$ DECLARE r audit; previous bytea := ''; BEGIN
        UPDATE audit SET actor = 'x' WHERE audit_id = 2;
        FOR r IN SELECT * FROM audit ORDER BY audit_id LOOP
            previous := audit_hash(previous, r);
            UPDATE audit SET hash = previous WHERE audit_id = r.audit_id;
        END LOOP;
    END $$
"""


def write(database: Database, *actors: str) -> None:
    with database.tenant_session("north") as session:
        audit.append_all(
            session, [Record(actor, "store-study", "study 1.2", "allowed") for actor in actors]
        )


def as_owner(owner_url: str, statement: str) -> None:
    with psycopg.connect(owner_url) as owner:
        owner.execute(statement.encode())


def broken(database: Database) -> int | None:
    with database.system_session("test") as session:
        return audit.verify(session)


@pytest.mark.parametrize(
    ("tampering", "found"),
    [
        ("UPDATE audit SET detail = 'x' WHERE audit_id = 2", 2),
        (f"UPDATE audit SET correlation = '{'0' * 32}' WHERE audit_id = 3", 3),
        ("UPDATE audit SET hash = '' WHERE audit_id = 4", 4),
        ("DELETE FROM audit WHERE audit_id = 1", 2),
        ("DELETE FROM audit WHERE audit_id = 2", 3),
        (SWAP, 2),
        (INSERT, 5),
    ],
    ids=[
        "a field",
        "the correlation",
        "a hash",
        "the first",
        "one in between",
        "a swap",
        "one more",
    ],
)
def test_the_first_record_that_was_tampered_with_is_named(
    database: Database, owner_url: str, tampering: str, found: int
) -> None:
    write(database, "a", "b", "c", "d")
    assert broken(database) is None
    as_owner(owner_url, tampering)
    assert broken(database) == found


def test_a_correlation_id_cannot_be_taken_from_a_record(database: Database, owner_url: str) -> None:
    write(database, "a")
    with pytest.raises(psycopg.errors.CheckViolation):
        as_owner(owner_url, "UPDATE audit SET correlation = NULL")
    as_owner(owner_url, "ALTER TABLE audit DROP CONSTRAINT audit_correlated")
    as_owner(owner_url, "UPDATE audit SET correlation = NULL")
    assert broken(database) == 1


def test_records_from_before_there_were_correlation_ids_still_verify(
    database: Database, owner_url: str
) -> None:
    as_owner(owner_url, "ALTER TABLE audit DROP CONSTRAINT audit_correlated")
    as_owner(owner_url, OLD_RECORDS)
    write(database, "b")
    assert broken(database) is None
    as_owner(owner_url, f"UPDATE audit SET correlation = '{'0' * 32}' WHERE audit_id = 1")
    assert broken(database) == 1


@pytest.mark.parametrize("tampering", ["DELETE FROM audit WHERE audit_id = 3", "TRUNCATE audit"])
def test_that_the_newest_records_are_gone_is_seen_by_the_anchor_and_it_stays(
    database: Database, owner_url: str, tmp_path: Path, tampering: str
) -> None:
    write(database, "a", "b", "c")
    anchor = Anchor(tmp_path / "audit" / "anchor.json")
    with database.system_session("test") as session:
        assert anchor.move(session)
        kept = last_seal(session)
    as_owner(owner_url, tampering)
    assert broken(database) is None
    write(database, "d", "e", "f")
    with database.system_session("test") as session:
        assert not anchor.move(session)
        assert not stands(session, kept)
    assert anchor.read() == kept


def test_a_chain_that_was_made_anew_is_seen_by_the_anchor(
    database: Database, owner_url: str, tmp_path: Path
) -> None:
    write(database, "a", "b", "c")
    anchor = Anchor(tmp_path / "anchor.json")
    with database.system_session("test") as session:
        assert anchor.move(session)
    as_owner(owner_url, FORGE)
    assert broken(database) is None
    with database.system_session("test") as session:
        assert not anchor.move(session)


def test_the_node_says_once_in_the_trail_that_it_was_tampered_with(
    database: Database, owner_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "_ANCHOR_S", 0.0)
    watch = reads.Watch(database, Anchor(tmp_path / "anchor.json"))
    write(database, "a", "b")
    watch()
    as_owner(owner_url, "DELETE FROM audit WHERE audit_id = 2")
    for _ in range(3):
        watch()
    with database.system_session("test") as session:
        rows = session.execute("SELECT action, resource FROM audit ORDER BY audit_id").fetchall()
    assert [row["action"] for row in rows] == ["store-study", "audit.tampered"]
    assert rows[1]["resource"].startswith("record 2:")


def test_the_anchor_moves_on_with_the_trail(database: Database, tmp_path: Path) -> None:
    anchor = Anchor(tmp_path / "anchor.json")
    for actor in "ab":
        write(database, actor)
        with database.system_session("test") as session:
            assert anchor.move(session)
            assert anchor.read() == last_seal(session)


def test_eight_who_write_at_once_make_one_chain(database: Database) -> None:
    start = threading.Barrier(8)

    def work(name: str) -> None:
        start.wait()
        for number in range(10):
            write(database, *[f"{name} {number}"] * (number % 3 + 1))

    writers = [threading.Thread(target=work, args=[f"writer {i}"]) for i in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert broken(database) is None
    with database.system_session("test") as session:
        assert last_seal(session).audit_id == 8 * sum(n % 3 + 1 for n in range(10))


def test_a_batch_is_in_its_order_and_has_the_id_of_what_the_thread_does(
    database: Database,
) -> None:
    with correlation.operation() as identifier:
        write(database, "a", "b")
    write(database, "c")
    with database.system_session("test") as session:
        rows = session.execute("SELECT actor, correlation FROM audit ORDER BY audit_id").fetchall()
    assert [row["actor"] for row in rows] == ["a", "b", "c"]
    assert [row["correlation"] == identifier for row in rows] == [True, True, False]


def test_text_that_no_database_holds_does_not_stop_a_batch(database: Database) -> None:
    write(database, "nul \0", "surrogate \udcff", "Jörg")
    with database.system_session("test") as session:
        rows = session.execute("SELECT actor FROM audit ORDER BY audit_id").fetchall()
    assert [row["actor"] for row in rows] == ["nul ", "surrogate ?", "Jörg"]


def test_the_application_cannot_give_a_record_its_number_or_time(database: Database) -> None:
    with database.tenant_session("north") as session:
        forged = {"audit_id": 7, "at": "2001-01-01", "tenant_id": "north", "actor": "a"}
        fields = {"action": "b", "resource": "c", "verdict": "allowed", "origin": "", "detail": ""}
        record = forged | fields | {"correlation": correlation.new()}
        session.execute("SELECT append_audit(%s)", [Jsonb([record])])
    with database.tenant_session("north") as session:
        row = session.execute("SELECT audit_id, at > now() - interval '1 m' AS new FROM audit")
        assert row.fetchone() == {"audit_id": 1, "new": True}


def test_who_records_and_then_waits_for_a_row_does_not_stop_who_has_it(database: Database) -> None:
    """Two such once waited for each other until PostgreSQL ended one of them."""
    waits = "SELECT FROM pg_locks WHERE NOT granted"
    change = "UPDATE tenant SET tenant_id = tenant_id WHERE tenant_id = 'north'"

    def record_then_wait() -> None:
        with database.system_session("first") as session:
            audit.append(session, Record("first", "store-study", "study 1.2", "allowed"))
            recorded.set()
            has_row.wait(10)
            session.execute(change)

    recorded, has_row = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(record_then_wait)
        assert recorded.wait(10)
        with database.system_session("second") as session:
            session.execute(change)
            has_row.set()
            until(lambda: session.execute(waits).fetchone() is not None)
            audit.append(session, Record("second", "store-study", "study 1.2", "allowed"))
        first.result(10)
    with database.system_session("test") as session:
        rows = session.execute("SELECT actor FROM audit ORDER BY audit_id").fetchall()
    assert [row["actor"] for row in rows] == ["second", "first"]
    assert broken(database) is None


def test_what_was_recorded_in_a_part_that_was_taken_back_is_not_in_the_trail(
    database: Database,
) -> None:
    with database.tenant_session("north") as session:
        audit.append(session, Record("stays", "store-study", "study 1.2", "allowed"))
        with suppress(ZeroDivisionError), session.transaction():
            audit.append(session, Record("falls", "store-study", "study 1.2", "allowed"))
            raise ZeroDivisionError
    with database.system_session("test") as session:
        rows = session.execute("SELECT actor FROM audit").fetchall()
    assert [row["actor"] for row in rows] == ["stays"]
