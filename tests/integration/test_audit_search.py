"""Finding records, each tenant among its own, and exporting them."""

from __future__ import annotations

import json
from datetime import UTC, date, timedelta
from xml.etree import ElementTree as ET

import psycopg
import pytest
from flask import Flask
from psycopg import sql

from gateway import audit, cli
from gateway.audit import Record
from gateway.audit.chain import last_seal
from gateway.audit.search import Search, page, stream
from gateway.db import Database
from gateway.errors import InvalidInput
from gateway.settings import Settings
from tests.integration.portal.conftest import HTML, app, signed_in

__all__ = ["app"]  # the portal's fixture

RECORDS = [
    Record("ann", "store-study", "study 1.2", "allowed", "north", "10.0.0.1"),
    Record("ann", "read-study", "study 1.2", "allowed", "north", correlation="a" * 32),
    Record("bob", "read-study", "series 1.2", "denied", "north"),
    Record("eve", "read-study", "study 1.2", "denied", "south"),
    Record("argonath", "node.unclean-stop", "node a", "failed"),
]


# Rows as an installation has them after a year, without a chain, which costs too long.
MANY = """
    INSERT INTO audit SELECT i, '2026-01-01'::timestamptz + i * interval '25 s',
        (ARRAY['north', 'south', 'west'])[1 + i % 3], 'user' || i % 100,
        CASE WHEN i % 5000 = 7 THEN 'delete-study' ELSE 'read-study' END, 'study 1.' || i % 3000,
        CASE WHEN i % 500 = 9 THEN 'denied' ELSE 'allowed' END, '', '', '', md5(i::text)
    FROM generate_series(1, 30000) i
"""
SEARCHES: list[dict[str, str]] = [
    {},
    {"actor": "nobody"},
    {"actor": "user7"},
    {"action": "delete-study"},
    {"action": "nothing"},
    {"verdict": "denied"},
    {"verdict": "failed"},
    {"resource": "1.17"},
    {"correlation": "a" * 32},
    {"since": "2026-01-02", "until": "2026-01-03"},
    {"since": "2026-01-02", "action": "delete-study"},
]


@pytest.fixture
def trail(database: Database) -> Database:
    with database.system_session("test") as session:
        audit.append_all(session, RECORDS)
    return database


def found(database: Database, tenant: str | None = "north", **search: str) -> list[int]:
    opened = database.tenant_session(tenant) if tenant else database.system_session("test")
    with opened as session:
        rows = page(session, Search.parse(search), before=None, limit=50)
        assert [row["audit_id"] for row in stream(session, Search.parse(search))] == [
            row["audit_id"] for row in reversed(rows)
        ]
    return [row["audit_id"] for row in rows]


@pytest.mark.parametrize(
    ("search", "numbers"),
    [
        ({}, [3, 2, 1]),
        ({"actor": "ann"}, [2, 1]),
        ({"action": "read-study"}, [3, 2]),
        ({"verdict": "denied"}, [3]),
        ({"resource": "1.2"}, [3, 2, 1]),
        ({"resource": "study 1.2"}, [2, 1]),
        ({"correlation": "a" * 32}, [2]),
        ({"actor": "ann", "action": "read-study"}, [2]),
        ({"actor": "eve"}, []),
        ({"resource": "node a"}, []),
    ],
)
def test_a_tenant_finds_its_own_records_alone(
    trail: Database, search: dict[str, str], numbers: list[int]
) -> None:
    assert found(trail, **search) == numbers


def test_a_system_admin_finds_those_of_all(trail: Database) -> None:
    assert found(trail, None) == [5, 4, 3, 2, 1]
    assert found(trail, None, resource="1.2") == [4, 3, 2, 1]


def day_of_the_trail(trail: Database) -> date:
    """In UTC; by now it may be the next."""
    with trail.system_session("test") as session:
        row = session.execute("SELECT at FROM audit WHERE audit_id = 1").fetchone()
    assert row is not None
    return row["at"].astimezone(UTC).date()  # type: ignore[no-any-return]


def test_a_search_by_time_takes_whole_days(trail: Database) -> None:
    today = day_of_the_trail(trail)
    yesterday, tomorrow = str(today - timedelta(1)), str(today + timedelta(1))
    assert found(trail, since=str(today), until=str(today)) == [3, 2, 1]
    assert found(trail, until=yesterday) == []
    assert found(trail, since=tomorrow) == []


def test_a_search_by_time_takes_moments(trail: Database) -> None:
    with trail.system_session("test") as session:
        row = session.execute("SELECT at FROM audit WHERE audit_id = 2").fetchone()
    assert row is not None
    assert found(trail, since=row["at"].isoformat()) == [3, 2]
    assert found(trail, until=row["at"].isoformat()) == [1]


@pytest.mark.parametrize("tenant", ["north", None])
def test_no_search_reads_the_whole_table(
    database: Database, owner_url: str, tenant: str | None
) -> None:
    with psycopg.connect(owner_url) as owner:
        owner.execute(MANY)
        owner.execute("ANALYZE audit")
    opened = database.tenant_session(tenant) if tenant else database.system_session("test")
    with opened as session:
        for fields in SEARCHES:
            where, values = Search.parse(fields).conditions()
            plan = session.execute(
                sql.SQL(
                    "EXPLAIN SELECT * FROM audit WHERE {} ORDER BY audit_id DESC LIMIT 51"
                ).format(where),
                values,
            ).fetchall()
            told = "\n".join(row["QUERY PLAN"] for row in plan)
            assert "Seq Scan" not in told, (fields, told)


@pytest.mark.parametrize(
    "fields", [{"since": "yesterday"}, {"until": "9999-12-31"}, {"verdict": "x"}, {"actor": "\0"}]
)
def test_what_cannot_be_searched_is_said(fields: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        Search.parse(fields)


def test_the_page_shows_a_tenant_its_own_and_says_what_is_wrong(
    app: Flask, trail: Database
) -> None:
    south = signed_in(app, "south")
    shown = south.get("/audit?resource=1.2", headers=HTML).text
    assert "eve" in shown
    assert "ann" not in shown
    assert "No record matches" in south.get("/audit?actor=ann", headers=HTML).text
    wrong = south.get("/audit?since=yesterday", headers=HTML)
    assert wrong.status_code == 200
    assert "since: a date such as" in wrong.text


def test_older_records_are_a_page_further(app: Flask, trail: Database) -> None:
    with trail.system_session("test") as session:
        audit.append_all(
            session, [Record(f"n{i:02}", "x", "y", "allowed", "north") for i in range(60)]
        )
    admin = signed_in(app, "admin")
    first = admin.get("/audit?action=x", headers=HTML).text
    assert "n59" in first
    assert "n09" not in first
    address = first.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
    second = admin.get(address, headers=HTML).text
    assert "n09" in second
    assert "n10" not in second
    assert "Newest" in second


def test_the_export_holds_what_is_found_and_is_itself_recorded(app: Flask, trail: Database) -> None:
    admin = signed_in(app, "admin")
    answer = admin.get("/audit/export?resource=1.2&format=jsonl")
    assert "attachment" in answer.headers["Content-Disposition"]
    told = [json.loads(line) for line in answer.text.splitlines()]
    assert [record["audit_id"] for record in told] == [1, 2, 3]
    assert found(trail, action="export-audit")
    events = admin.get("/audit/export?format=fhir").text.splitlines()
    assert {json.loads(line)["resourceType"] for line in events} == {"AuditEvent"}
    messages = admin.get("/audit/export?format=dicom").text.splitlines()
    assert {ET.fromstring(line).tag for line in messages} == {"AuditMessage"}


def test_who_may_not_read_the_audit_may_not_export_it(app: Flask) -> None:
    assert signed_in(app, "viewer").get("/audit/export").status_code == 403


def run(monkeypatch: pytest.MonkeyPatch, settings: Settings, *words: str) -> int:
    monkeypatch.setattr(Settings, "load", lambda: settings)
    return cli.main(["audit", *words])


def test_the_command_exports_one_tenant_between_two_days(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: Settings,
    trail: Database,
) -> None:
    today = day_of_the_trail(trail)
    # Its own deed is told, too: by now it may be tomorrow.
    days = ("--from", str(today), "--to", str(today + timedelta(1)))
    words = ("export", "--tenant", "south", *days)
    assert run(monkeypatch, settings, *words) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["actor"] for record in told] == ["eve", "command line"]


def test_the_command_verifies_and_names_what_is_broken(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: Settings,
    trail: Database,
    owner_url: str,
) -> None:
    with trail.system_session("test") as session:
        seal = str(last_seal(session))
    assert run(monkeypatch, settings, "verify", "--seal", seal) == 0
    assert "The chain holds: 5 records." in capsys.readouterr().out
    with psycopg.connect(owner_url) as owner:
        owner.execute("DELETE FROM audit WHERE audit_id = 5")
    assert run(monkeypatch, settings, "verify") == 0
    assert run(monkeypatch, settings, "verify", "--seal", seal) == 1
    assert "Record 5 is gone" in capsys.readouterr().out
    with psycopg.connect(owner_url) as owner:
        owner.execute("UPDATE audit SET actor = 'x' WHERE audit_id = 2")
    assert run(monkeypatch, settings, "verify") == 1
    assert "The chain breaks at record 2." in capsys.readouterr().out
