"""Attacks on what is shared: south may read one study of north, and wants more."""

from __future__ import annotations

import re
import uuid

import httpx
import pytest

from gateway import sharing
from tests.isolation.attacks import forged, instances_seen
from tests.isolation.test_attacks_dimse import asking, find, move, receiver, store
from tests.isolation.world import Whose, World, stow

NOT_AUTHORIZED = 0x0124


def address_of(world: World, tenant: str) -> str:
    """The sharing address of a tenant."""
    with world.database.tenant_session(tenant) as session:
        return sharing.address_of(session, tenant)


def told(world: World, caller: str, path: str, named: str, **form: str) -> tuple[int, str]:
    """The status and the text of the answer to a form, without what was `named` in it."""
    headers = {**world.caller(caller).session, "Accept": "application/json"}
    answer = httpx.post(world.gateway.url + path, data=form, headers=headers, timeout=30)
    text = re.sub(r"/invitations/[\w-]+", "#", answer.text.replace(named, "#"))
    text = re.sub(r'name="csrf_token" value="[^"]+"|<time.*?</time>', "#", text, flags=re.DOTALL)
    return answer.status_code, re.sub(r'(correlation": ?")[0-9a-f]{32}', r"\1#", text)


@pytest.mark.parametrize("caller", ["admin", "owner", "system admin in south"])
def test_to_make_somebody_a_member_does_not_tell_who_works_elsewhere(
    world: World, caller: str
) -> None:
    # Not the person whose address the matrix looks for: what south types is in south's own audit.
    with world.database.system_session("test") as session:
        session.execute(
            "WITH added AS (INSERT INTO person (email, password_hash) "
            "VALUES ('noelle@isolation.example', '') ON CONFLICT DO NOTHING RETURNING person_id)"
            "INSERT INTO membership (person_id, tenant_id, role) "
            "SELECT person_id, 'north', 'viewer' FROM added"
        )
    answers = []
    for email in ("noelle@isolation.example", "nobody@isolation.example"):
        answers.append(told(world, caller, "/people", email, email=email, role="viewer"))
        with world.database.system_session("test") as session:
            rows = session.execute(
                "UPDATE invitation SET closed_at = now() WHERE email = %s AND closed_at IS NULL "
                "AND tenant_id = 'south' RETURNING email",
                [email],
            ).fetchall()
        assert len(rows) == 1
    assert answers[0] == answers[1]
    assert answers[0][0] == 200


@pytest.mark.parametrize("whose", ["own", "other", "absent"])
def test_sharing_does_not_tell_which_tenants_there_are(world: World, whose: Whose) -> None:
    """A tenant's id, its title, its AE title and its address of yesterday are nobody's address."""
    old = address_of(world, "north")
    with world.database.tenant_session("north") as session:
        sharing.renew_address(session, "north")
    uid = world.studies[whose].study
    answers = {
        told(world, "owner", f"/studies/{uid}/shares", typed, address=typed, lifetime="1")
        for typed in ("north", "nowhere", "North Hospital", "NORTH", old, str(uuid.uuid4()))
    }
    assert len(answers) == 1
    assert {status for status, _text in answers} == {404}


@pytest.mark.parametrize("whose", ["other", "shared", "lent", "absent"])
def test_a_right_address_does_not_tell_which_studies_there_are(world: World, whose: Whose) -> None:
    address = address_of(world, "north")
    answers = [
        told(world, "owner", f"/studies/{uid}/shares", uid, address=address, lifetime="1")
        for uid in (world.studies[whose].study, "1.2.3.4.5")
    ]
    assert answers[0] == answers[1]
    assert answers[0][0] == 404


@pytest.mark.parametrize("level", ["STUDY", "SERIES", "IMAGE"])
def test_c_find_finds_the_lent_study_and_no_other_of_its_owner(world: World, level: str) -> None:
    lent, own = world.studies["lent"].study, world.studies["own"].study
    _status, found = find(world, asking(level), calling="SOUTHCT9", called="SOUTH")
    studies = {str(match.StudyInstanceUID) for match in found}
    assert {lent, own} <= studies
    assert studies & {world.studies["other"].study, world.studies["shared"].study} == set()


def test_c_move_delivers_the_lent_study_to_the_receiver_alone(world: World) -> None:
    lent, ended = world.studies["lent"].study, world.studies["other"].study
    with (
        receiver(world, "LENTWS", "south") as south,
        receiver(world, "FOREIGNWS", "north") as north,
    ):

        def delivered() -> bool:
            return move(world, lent, "LENTWS", calling="LENTWS", called="SOUTH") == 0

        world.gateway.wait_until(delivered, 10)
        assert set(south) == {lent}
        move(world, f"{lent}\\{ended}", "LENTWS", calling="LENTWS", called="SOUTH")
        move(world, ended, "LENTWS", calling="LENTWS", called="SOUTH")
        move(world, lent, "FOREIGNWS", calling="LENTWS", called="SOUTH")
        assert set(south) == {lent}
        assert north == []


@pytest.mark.parametrize("new_instance", [True, False], ids=["new instance", "same UIDs"])
def test_the_receiver_does_not_write_into_the_lent_study(world: World, new_instance: bool) -> None:
    lent = world.studies["lent"]
    attack = forged(lent, new_instance=new_instance)
    assert store(world, attack) == NOT_AUTHORIZED
    for caller in ("member", "owner", "system admin in south"):
        assert stow(world, caller, attack, study=lent.study).status_code in (400, 403, 409)
    assert instances_seen(world, "north", lent.study) == {lent.instance, lent.second}
    assert world.content(lent.orthanc["instances"]) == lent.files[0]


@pytest.mark.parametrize("caller", ["admin", "owner", "system admin in south"])
def test_the_receiver_neither_shares_on_nor_deletes_the_lent_study(
    world: World, caller: str
) -> None:
    lent, who = world.studies["lent"].study, world.caller(caller)
    form = {"address": address_of(world, "north"), "lifetime": "1", "code": "no"}
    headers = {**who.session, "Accept": "application/json"}
    for what in ("shares", "links"):
        path = f"{world.gateway.url}/studies/{lent}/{what}"
        assert httpx.post(path, data=form, headers=headers).status_code == 404
    path = f"{world.gateway.url}/dicom-web/studies/{lent}"
    assert httpx.delete(path, headers=dict(who.key)).status_code == 404


@pytest.mark.parametrize("name", ["argonath_session", "Authorization"])
def test_the_cookie_of_a_link_is_no_session_and_no_key(world: World, name: str) -> None:
    visit = world.caller("link").key["Cookie"].partition("=")[2]
    headers = {
        "Authorization": f"Bearer {visit}" if name == "Authorization" else "",
        "Cookie": f"{name}={visit}",
        "Accept": "application/json",
    }
    headers = {key: value for key, value in headers.items() if value}
    for path in ("/studies", "/dicom-web/studies", "/orthanc/system", "/keys"):
        answer = httpx.get(world.gateway.url + path, headers=headers)
        assert answer.status_code == 401, path


@pytest.mark.parametrize(
    "query",
    [
        "StudyInstanceUID={other}",
        "StudyInstanceUID={lent},{other}",
        "StudyInstanceUID={lent}%5C{other}",
        "StudyInstanceUID=*",
        "0020000D={other}&StudyInstanceUID={lent}",
        "StudyInstanceUID={lent}&0020000D={other}",
        "PatientID={patient}",
        "PatientName=*&limit=1000",
    ],
)
@pytest.mark.parametrize("level", ["studies", "series", "instances"])
@pytest.mark.parametrize("caller", ["link", "member"])
def test_no_question_widens_what_is_shared(
    world: World, caller: str, level: str, query: str
) -> None:
    other = world.studies["other"]
    asked = query.format(other=other.study, lent=world.studies["lent"].study, patient=other.patient)
    answer = httpx.get(
        f"{world.gateway.url}/dicom-web/{level}?{asked}&includefield=0020000D,00100020",
        headers=dict(world.caller(caller).key),
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    for name in (*other.identifiers, other.second, world.studies["shared"].study):
        assert name not in answer.text
    if caller == "link":
        assert world.studies["own"].study not in answer.text
