"""Shares on a real PostgreSQL: whose they are, when they end, what is told of them."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from gateway import db, sharing, studies
from gateway.db import Database
from gateway.errors import InvalidInput, NotFound
from gateway.sharing import Share, Shares, UnknownAddress
from gateway.studies import Arrival
from gateway.tenancy import create_tenant

UID = "1.2.3"


@pytest.fixture
def ward(database: Database) -> Database:
    """North has a study; east is a third tenant."""
    create_tenant(database, "east", "East Practice", ["EAST"])
    with database.system_session("test") as session:
        studies.claim(session, "north", Arrival(UID, "P1", "Doe^Jane", modality="CT"))
    return database


def address_of(database: Database, tenant: str) -> str:
    with database.tenant_session(tenant) as session:
        return sharing.address_of(session, tenant)


def share(database: Database, *, days: int = 1, with_tenant: str = "south") -> Share:
    expires_at = datetime.now(UTC) + timedelta(days=days)
    address = address_of(database, with_tenant)
    with database.tenant_session("north") as session:
        made = sharing.share(session, "north", UID, address, expires_at, "nora")
        sharing.shared(session, made, "nora", "10.0.0.1")
    return made


def received(database: Database, tenant: str) -> list[str]:
    with database.tenant_session(tenant) as session:
        return [row["study_instance_uid"] for row in sharing.received(session)]


def known(database: Database) -> Shares:
    with database.system_session("test") as session:
        return Shares.load(session)


def trail(database: Database, tenant: str) -> list[tuple[str, str, str]]:
    with database.tenant_session(tenant) as session:
        rows = session.execute(
            "SELECT action, actor, verdict FROM audit WHERE action LIKE '%share%' ORDER BY audit_id"
        )
        return [(row["action"], row["actor"], row["verdict"]) for row in rows]


def test_a_shared_study_is_told_to_the_one_tenant_that_it_is_shared_with(ward: Database) -> None:
    share(ward)
    assert received(ward, "south") == [UID]
    assert received(ward, "east") == []
    assert received(ward, "north") == []


def test_the_receiver_does_not_see_the_row_of_the_study_itself(ward: Database) -> None:
    share(ward)
    with ward.tenant_session("south") as session:
        assert studies.find(session, UID) is None


@pytest.mark.parametrize("end", ["revoked_at = now()", "expires_at = now()"])
def test_a_share_that_has_ended_tells_nothing(ward: Database, end: str) -> None:
    share(ward)
    with ward.system_session("test") as session:
        session.execute(f"UPDATE study_share SET {end}".encode())
    assert received(ward, "south") == []
    ended = known(ward).with_tenant("south")[UID]
    assert ended.why_not(datetime.now(UTC)) in ("revoked", "expired")


def test_the_receiver_can_neither_change_nor_end_nor_pass_on_a_share(ward: Database) -> None:
    made = share(ward)
    with ward.tenant_session("south") as session:
        changed = session.execute("UPDATE study_share SET expires_at = expires_at + '1 day'")
        assert changed.rowcount == 0
    with pytest.raises(NotFound), ward.tenant_session("south") as session:
        sharing.revoke(session, made.share_id)
    east = address_of(ward, "east")
    for owner in ("south", "north"):
        with pytest.raises(NotFound), ward.tenant_session("south") as session:
            sharing.share(session, owner, UID, east, made.expires_at, "sue")
    assert received(ward, "east") == []


def test_a_third_tenant_sees_no_share_of_others(ward: Database) -> None:
    share(ward)
    with ward.tenant_session("east") as session:
        assert session.execute("SELECT * FROM study_share").fetchall() == []


def test_a_study_of_nobody_cannot_be_shared(ward: Database) -> None:
    until, address = datetime.now(UTC) + timedelta(days=1), address_of(ward, "south")
    with pytest.raises(NotFound), ward.tenant_session("north") as session:
        sharing.share(session, "north", "1.2.99", address, until, "nora")


@pytest.mark.parametrize(
    "address", ["south", "nowhere", "", "\0", "00000000-0000-4000-8000-000000000000"]
)
def test_what_is_nobodys_address_is_answered_alike(ward: Database, address: str) -> None:
    until = datetime.now(UTC) + timedelta(days=1)
    with pytest.raises(UnknownAddress) as refused, ward.tenant_session("north") as session:
        sharing.share(session, "north", UID, address, until, "nora")
    assert str(refused.value) == str(UnknownAddress())


def test_an_address_is_found_however_it_was_typed(ward: Database) -> None:
    until, address = datetime.now(UTC) + timedelta(days=1), address_of(ward, "south")
    for typed in (f" {address.upper()}\n", address.replace("-", "")):
        with ward.tenant_session("north") as session:
            shared = sharing.share(session, "north", UID, typed, until, "nora")
        assert shared.with_tenant_id == "south"


def test_a_renewed_address_makes_the_old_one_nobodys_and_keeps_what_was_shared(
    ward: Database,
) -> None:
    made, old = share(ward), address_of(ward, "south")
    with ward.tenant_session("south") as session:
        sharing.renew_address(session, "south")
    assert address_of(ward, "south") != old
    assert received(ward, "south") == [UID]
    with pytest.raises(UnknownAddress), ward.tenant_session("north") as session:
        sharing.share(session, "north", UID, old, made.expires_at, "nora")


def test_a_tenant_sees_and_renews_its_own_address_alone(ward: Database) -> None:
    before = address_of(ward, "south")
    with ward.tenant_session("north") as session:
        rows = session.execute("SELECT sharing_address FROM tenant").fetchall()
        assert before not in [str(row["sharing_address"]) for row in rows]
        sharing.renew_address(session, "south")
    assert address_of(ward, "south") == before


@pytest.mark.parametrize("days", [0, -1, 366])
def test_a_share_ends_within_a_year(ward: Database, days: int) -> None:
    with pytest.raises(InvalidInput):
        share(ward, days=days)


def test_a_study_is_not_shared_with_its_owner(ward: Database) -> None:
    with pytest.raises(InvalidInput):
        share(ward, with_tenant="north")


def test_sharing_again_moves_the_end_of_the_same_share(ward: Database) -> None:
    assert share(ward, days=1).share_id == share(ward, days=9).share_id
    assert known(ward).with_tenant("south")[UID].expires_at > datetime.now(UTC) + timedelta(8)


def test_a_share_goes_with_its_study(ward: Database) -> None:
    share(ward)
    with ward.system_session("test") as session:
        row = studies.find(session, UID)
        assert row is not None
        studies.forget(session, row["orthanc_id"])
        studies.claim(session, "east", Arrival(UID))
    assert received(ward, "south") == []
    assert known(ward).with_tenant("south") == {}


def views(database: Database) -> int:
    with database.system_session("test") as session:
        row = session.execute("SELECT views FROM study_share").fetchone()
    assert row is not None
    return int(row["views"])


def test_a_visit_is_one_view_however_many_processes_notice_it(ward: Database) -> None:
    made = share(ward)
    for who in ("sue", "sue", "sam", "sue"):
        with ward.system_session("test") as session:
            sharing.viewed(session, made, who, "10.0.0.2")
    assert views(ward) == 2


def test_both_tenants_and_no_other_find_in_the_audit_what_was_done(ward: Database) -> None:
    made = share(ward)
    with ward.system_session("test") as session:
        sharing.viewed(session, made, "sue", "10.0.0.2")
    with ward.tenant_session("north") as session:
        ended = sharing.revoke(session, made.share_id)
        sharing.tell(session, ended, sharing.REVOKE, "nora", "10.0.0.1")
    expected = [
        ("share-study", "nora", "allowed"),
        ("open-share", "sue", "allowed"),
        ("revoke-share", "nora", "allowed"),
    ]
    assert trail(ward, "north") == trail(ward, "south") == expected
    assert trail(ward, "east") == []


def test_every_node_hears_at_once_of_a_share_and_of_its_end_but_not_of_a_view(
    ward: Database, app_url: str
) -> None:
    heard, stop, ready = threading.Semaphore(0), threading.Event(), threading.Event()

    def hear(*_: Any) -> None:
        heard.release()

    listener = threading.Thread(
        target=db.listen,
        args=(app_url, ["argonath_share"], hear),
        kwargs={"connected": ready.set, "stop": stop},
    )
    listener.start()
    try:
        assert ready.wait(10)
        made = share(ward)
        assert heard.acquire(timeout=30)
        with ward.system_session("test") as session:
            sharing.viewed(session, made, "sue", "")
        assert not heard.acquire(timeout=0.5)
        with ward.tenant_session("north") as session:
            sharing.revoke(session, made.share_id)
        assert heard.acquire(timeout=30)
    finally:
        stop.set()
        listener.join(10)


def test_the_database_lets_nobody_write_a_share_of_anothers_study(ward: Database) -> None:
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        ward.tenant_session("south") as session,
    ):
        session.execute(
            "INSERT INTO study_share (tenant_id, study_instance_uid, with_tenant_id, expires_at, "
            "created_by) VALUES ('south', %s, 'east', now() + '1 day', 'sue')",
            [UID],
        )
