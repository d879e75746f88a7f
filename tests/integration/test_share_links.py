"""Links on a real PostgreSQL: what opens one, how often, and until when."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from gateway import share_links, studies
from gateway.access import Action, permits
from gateway.db import Database
from gateway.errors import GatewayError, InvalidInput, NotAuthenticated, NotFound
from gateway.share_links import LinkEnded, NewLink, WrongCode
from gateway.studies import Arrival

UID = "1.2.3"
FROM = "10.0.0.9"


@pytest.fixture
def ward(database: Database) -> Database:
    with database.system_session("test") as session:
        studies.claim(session, "north", Arrival(UID, "P1", "Doe^Jane", modality="CT"))
    return database


def link(database: Database, *, with_code: bool = False, hours: float = 24) -> NewLink:
    until = datetime.now(UTC) + timedelta(hours=hours)
    with database.tenant_session("north") as session:
        return share_links.create(session, "north", UID, until, "nora", with_code=with_code)


def told(database: Database) -> list[tuple[str, str]]:
    with database.tenant_session("north") as session:
        rows = session.execute(
            "SELECT verdict, detail FROM audit WHERE action = 'open-share' ORDER BY audit_id"
        )
        return [(row["verdict"], row["detail"]) for row in rows]


def wrong(code: str) -> str:
    return code[:-1] + str((int(code[-1]) + 1) % 10)


def end(database: Database, what: str) -> None:
    with database.system_session("test") as session:
        session.execute(f"UPDATE share_link SET {what}".encode())


def test_a_visitor_reads_one_study_and_may_do_nothing_else(ward: Database) -> None:
    visit = share_links.visit(ward, link(ward).token, "", FROM)
    who = share_links.visitor(ward, visit.token)
    assert (who.study_uid, who.tenant_id) == (UID, None)
    assert [action for action in Action if permits(who, action)] == [Action.READ_STUDY]


def test_a_visit_lasts_no_longer_than_its_link(ward: Database) -> None:
    short = share_links.visit(ward, link(ward, hours=1).token, "", FROM)
    long = share_links.visit(ward, link(ward, hours=99).token, "", FROM)
    assert short.expires_at <= datetime.now(UTC) + timedelta(hours=1)
    assert long.expires_at <= datetime.now(UTC) + share_links.LONGEST_VISIT


@pytest.mark.parametrize(
    ("ended", "why"),
    [
        ("revoked_at = now()", "revoked"),
        ("expires_at = now()", "expired"),
        ("wrong_codes = 10", "too many wrong codes"),
    ],
)
def test_a_link_that_has_ended_opens_nothing_and_ends_its_visits(
    ward: Database, ended: str, why: str
) -> None:
    made = link(ward)
    visit = share_links.visit(ward, made.token, "", FROM)
    end(ward, ended)
    with pytest.raises(LinkEnded):
        share_links.wants_code(ward, made.token, FROM)
    with pytest.raises(LinkEnded):
        share_links.visit(ward, made.token, "", FROM)
    with pytest.raises(NotAuthenticated):
        share_links.visitor(ward, visit.token)
    assert told(ward) == [("allowed", ""), ("denied", why), ("denied", why)]


def test_neither_a_guessed_link_nor_the_link_itself_is_a_visit(ward: Database) -> None:
    with pytest.raises(LinkEnded):
        share_links.visit(ward, "guess", "", FROM)
    with pytest.raises(NotAuthenticated):
        share_links.visitor(ward, link(ward).token)


def test_neither_the_token_nor_the_code_is_stored(ward: Database) -> None:
    made = link(ward, with_code=True)
    with ward.system_session("test") as session:
        row = session.execute("SELECT share_link::text AS all FROM share_link").fetchone()
    assert row is not None
    assert made.token not in row["all"]
    assert made.code not in row["all"]
    assert len(made.token) == 43  # 256 bits


def test_a_code_opens_once(ward: Database) -> None:
    made = link(ward, with_code=True)
    share_links.visit(ward, made.token, made.code, FROM)
    with pytest.raises(WrongCode):
        share_links.visit(ward, made.token, made.code, FROM)
    assert told(ward) == [("allowed", ""), ("denied", "the code was used before")]


def test_of_two_who_use_the_code_at_once_one_is_let_in(ward: Database) -> None:
    made = link(ward, with_code=True)

    def enter(_number: int) -> bool:
        try:
            return bool(share_links.visit(ward, made.token, made.code, FROM))
        except GatewayError:
            return False

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(enter, range(4))) == 1


def test_wrong_codes_are_counted_whoever_sends_them_until_the_link_is_closed(
    ward: Database,
) -> None:
    made = link(ward, with_code=True)
    for number in range(10):
        with pytest.raises(WrongCode):
            share_links.visit(ward, made.token, wrong(made.code), f"10.0.0.{number}")
    with pytest.raises(LinkEnded):
        share_links.visit(ward, made.token, made.code, FROM)
    assert told(ward) == [("denied", "wrong code")] * 10 + [("denied", "too many wrong codes")]


@pytest.mark.parametrize("code", ["", " ", "0", "x" * 32])
def test_a_link_with_a_code_does_not_open_without(ward: Database, code: str) -> None:
    with pytest.raises(WrongCode):
        share_links.visit(ward, link(ward, with_code=True).token, code, FROM)


def test_every_opening_is_a_view(ward: Database) -> None:
    made = link(ward)
    for _ in range(3):
        share_links.visit(ward, made.token, "", FROM)
    with ward.tenant_session("north") as session:
        assert share_links.of_study(session, UID)[0]["views"] == 3


def test_a_link_goes_with_its_study(ward: Database) -> None:
    visit = share_links.visit(ward, link(ward).token, "", FROM)
    with ward.system_session("test") as session:
        row = studies.find(session, UID)
        assert row is not None
        studies.forget(session, row["orthanc_id"])
        studies.claim(session, "south", Arrival(UID))
    with pytest.raises(NotAuthenticated):
        share_links.visitor(ward, visit.token)


def test_another_tenant_neither_makes_nor_sees_nor_ends_a_link(ward: Database) -> None:
    made = link(ward)
    until = datetime.now(UTC) + timedelta(hours=1)
    with ward.tenant_session("south") as session:
        assert share_links.of_study(session, UID) == []
    with pytest.raises(NotFound), ward.tenant_session("south") as session:
        share_links.revoke(session, made.link_id)
    with pytest.raises(NotFound), ward.tenant_session("south") as session:
        share_links.create(session, "south", UID, until, "sue", with_code=False)


@pytest.mark.parametrize("hours", [0, -1, 366 * 24])
def test_a_link_ends_within_a_year(ward: Database, hours: float) -> None:
    with pytest.raises(InvalidInput):
        link(ward, hours=hours)
