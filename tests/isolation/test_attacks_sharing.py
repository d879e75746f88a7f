"""Attacks on what is shared: south may read one study of north, and wants more."""

from __future__ import annotations

import httpx
import pytest

from tests.isolation.attacks import forged, instances_seen
from tests.isolation.test_attacks_dimse import asking, find, move, receiver, store
from tests.isolation.world import World, stow

NOT_AUTHORIZED = 0x0124


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
    form = {"with": "north", "lifetime": "1", "code": "no"}
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
