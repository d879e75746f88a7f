from __future__ import annotations

import pytest

from gateway.arriving import Sender
from gateway.errors import DatabaseUnavailable
from gateway.identity import Principal, Role
from gateway.studies import orthanc_id
from gateway.tenancy import CallingAE, Directory
from orthanc_plugins.access import Request
from orthanc_plugins.ingest import PROCEED
from tests.unit.orthanc_plugins.admission_world import INSTANCE, MEMBER, Dicom, World


def test_a_new_study_is_claimed_and_noted_for_the_tenant_of_the_called_ae_title(
    world: World,
) -> None:
    assert world.c_store() == 0
    assert world.rows["1.2"]["tenant_id"] == "north"
    assert [(r.verdict, r.tenant_id) for r in world.records] == [("allowed", "north")]


def stored_by(world: World) -> list[str]:
    """Whom the audit names as having stored, in order."""
    return [r.actor for r in world.records if (r.action, r.verdict) == ("store-study", "allowed")]


def arrive(world: World, instance: str = "1.2.1.1", **sent: str) -> None:
    """One instance is sent, admitted and stored."""
    assert world.c_store(SOPInstanceUID=instance, **sent) == 0
    world.ingest.stored(Dicom(), orthanc_id("P1", "1.2", "1.2.1", instance))


def test_a_sender_is_recorded_once_in_an_arrival_and_each_other_one_too(world: World) -> None:
    for n, calling in enumerate(["CT1", "CT1", "CT2", "CT1", "CT2"]):
        arrive(world, f"1.2.1.{n}", calling=calling)
    assert world.stow(MEMBER) == PROCEED
    assert world.stow(MEMBER) == PROCEED
    assert stored_by(world) == ["CT1", "CT2", "m"]


def test_who_sends_into_a_study_that_was_complete_is_recorded_again(world: World) -> None:
    arrive(world)
    world.arrivals.take_progress()
    assert world.arrivals.close_if_idle("1.2")
    world.rows["1.2"]["state"] = "stable"
    arrive(world, "1.2.1.2")
    arrive(world, "1.2.1.3")
    assert stored_by(world) == ["CT1", "CT1"]


def test_a_study_that_was_deleted_and_comes_again_is_recorded_again(world: World) -> None:
    arrive(world)
    old = world.rows.pop("1.2")
    world.arrivals.evict("1.2")
    arrive(world)
    assert stored_by(world) == ["CT1", "CT1"]
    assert old is not world.rows["1.2"]


def test_two_first_instances_at_once_are_one_record(world: World) -> None:
    for instance in ("1.2.1.1", "1.2.1.2"):
        assert world.c_store(SOPInstanceUID=instance) == 0
    assert stored_by(world) == ["CT1"]


def test_another_sender_whose_record_cannot_be_written_is_refused_for_now(world: World) -> None:
    arrive(world)
    world.database_is_up = False
    assert world.c_store(SOPInstanceUID="1.2.1.2") == 0
    assert world.c_store(SOPInstanceUID="1.2.1.3", calling="CT2") == 0xA700
    world.database_is_up = True
    world.now += 2
    arrive(world, "1.2.1.3", calling="CT2")
    assert stored_by(world) == ["CT1", "CT2"]


def test_each_instance_of_a_job_is_not_a_record(world: World) -> None:
    world.rows["7.7"] = {"tenant_id": "south", "state": "stable"}
    world.answers["/instances/parent/study"] = {"MainDicomTags": {"StudyInstanceUID": "7.7"}}
    for _ in range(3):
        assert world.stow(None, "RestApi") == PROCEED
        world.ingest.stored(Dicom(AnonymizedFrom="parent"), INSTANCE)
    assert len(stored_by(world)) == 1


def test_an_unknown_ae_title_gets_its_status_and_an_audit_record(world: World) -> None:
    assert world.c_store(called="NOWHERE") == 0x0124
    assert world.c_store(called="SOUTH", calling="CT1") == 0x0124
    assert {r.verdict for r in world.records} == {"denied"}
    assert world.rows == {}


def test_an_instance_cannot_join_anothers_study(world: World) -> None:
    world.c_store()
    assert world.c_store(called="SOUTH", calling="MR1") == 0x0124
    assert world.records[-1].tenant_id == "south"
    assert "north" not in world.records[-1].detail


@pytest.mark.parametrize("value", ["", "abc", "1.2\\1.3", "1" * 65])
def test_an_instance_without_proper_uids_is_unusable(world: World, value: str) -> None:
    assert world.c_store(StudyInstanceUID=value) == 0xA900


def test_a_dead_database_refuses_for_now_and_is_not_asked_by_each(world: World) -> None:
    world.database_is_up = False
    assert world.c_store() == 0xA700
    assert world.c_store(StudyInstanceUID="1.3") == 0xA700
    assert world.sessions == 1
    world.database_is_up = True
    world.now += 2
    assert world.c_store() == 0


def test_nothing_is_stored_that_was_not_admitted(world: World) -> None:
    assert world.ingest.c_store_status(Dicom()) == 0xA700
    assert world.ingest.admit(b"no JSON") != PROCEED
    assert world.ingest.c_store_status(Dicom()) == 0xA700


def test_by_http_the_role_decides_and_a_tenant_is_needed(world: World) -> None:
    viewer = Request("/x", Principal("v", Role.VIEWER, "north"))
    service = Request("/x", Principal("s", Role.SERVICE, None))
    assert world.stow(viewer) != PROCEED
    assert world.stow(service) != PROCEED
    assert world.stow(Request("/x", None)) != PROCEED
    assert world.stow(MEMBER) == PROCEED
    assert world.rows["1.2"]["tenant_id"] == "north"


def test_the_study_is_counted_and_labelled_before_the_answer(world: World) -> None:
    world.c_store()
    world.ingest.stored(Dicom(), INSTANCE)
    assert world.arrivals.take_progress() == [("1.2", 1)]
    assert [c.split("/labels/")[1] for c in world.calls] == ["tenant-north"] * 2


def test_a_claim_of_just_now_is_not_told_to_the_database_twice(world: World) -> None:
    world.c_store()
    sessions = world.sessions
    world.ingest.stored(Dicom(), INSTANCE)
    assert world.sessions == sessions


def test_a_claim_that_took_long_to_store_is_receiving_before_the_answer(world: World) -> None:
    world.c_store()
    world.now += 5
    world.ingest.stored(Dicom(), INSTANCE)
    assert world.rows["1.2"]["state"] == "receiving"


def test_a_claim_whose_study_was_deleted_meanwhile_is_made_again(world: World) -> None:
    world.c_store()
    del world.rows["1.2"]
    world.arrivals.evict("1.2")
    world.ingest.stored(Dicom(), INSTANCE)
    assert world.rows["1.2"] == {"tenant_id": "north", "state": "receiving"}


def test_a_second_instance_asks_neither_database_nor_orthanc(world: World) -> None:
    world.c_store()
    world.ingest.stored(Dicom(), INSTANCE)
    sessions, calls = world.sessions, len(world.calls)
    assert world.c_store(SOPInstanceUID="1.2.1.2") == 0
    world.ingest.stored(Dicom(), orthanc_id("P1", "1.2", "1.2.1", "1.2.1.2"))
    assert (world.sessions, len(world.calls)) == (sessions, calls)
    assert world.arrivals.take_progress() == [("1.2", 2)]


def test_a_study_that_became_stable_since_admission_is_reopened_before_the_answer(
    world: World,
) -> None:
    world.c_store()
    world.ingest.stored(Dicom(), INSTANCE)
    world.arrivals.take_progress()
    world.c_store(SOPInstanceUID="1.2.1.2")
    assert world.arrivals.close_if_idle("1.2")
    world.rows["1.2"]["state"] = "stable"
    world.ingest.stored(Dicom(), orthanc_id("P1", "1.2", "1.2.1", "1.2.1.2"))
    assert world.rows["1.2"]["state"] == "receiving"


def test_what_is_stored_into_another_study_than_admitted_is_taken_out_again(world: World) -> None:
    world.c_store()
    world.answers["/instances/other/metadata?expand"] = {}
    world.ingest.stored(Dicom("9.9"), "other")
    assert world.calls == ["DELETE /instances/other"]
    assert world.records[-1].verdict == "denied"


def test_what_was_there_before_is_never_taken_out(world: World) -> None:
    world.answers["/instances/old/metadata?expand"] = {"ReceptionDate": "yesterday"}
    world.ingest.stored(Dicom(ReceptionDate="now"), "old")
    assert world.calls == []


def test_a_patient_id_that_lua_writes_differently_is_no_harm(world: World) -> None:
    world.c_store(PatientID="P1?")
    world.ingest.stored(Dicom("1.2"), INSTANCE)
    assert world.arrivals.take_progress() == [("1.2", 1)]
    assert not any(call.startswith("DELETE") for call in world.calls)


def test_the_output_of_a_job_belongs_to_the_owner_of_what_it_was_made_from(world: World) -> None:
    world.rows["7.7"] = {"tenant_id": "south", "state": "stable"}
    world.answers["/instances/parent/study"] = {"MainDicomTags": {"StudyInstanceUID": "7.7"}}
    assert world.stow(None, "RestApi") == PROCEED
    world.ingest.stored(Dicom(AnonymizedFrom="parent"), INSTANCE)
    assert world.rows["1.2"] == {"tenant_id": "south", "state": "claimed"}


def test_the_output_of_a_job_without_an_owner_is_taken_out_again(world: World) -> None:
    world.answers[f"/instances/{INSTANCE}/metadata?expand"] = {}
    assert world.stow(None, "RestApi") == PROCEED
    world.ingest.stored(Dicom(), INSTANCE)
    assert world.calls == [f"DELETE /instances/{INSTANCE}"]
    assert "1.2" not in world.rows


def test_an_instance_of_a_study_that_is_arriving_is_asked_about_shortly(world: World) -> None:
    world.c_store()
    world.ingest.stored(Dicom(), INSTANCE)
    before = world.descriptions
    assert world.c_store(SOPInstanceUID="1.2.1.2") == 0
    assert world.descriptions == before
    world.ingest.stored(Dicom(), orthanc_id("P1", "1.2", "1.2.1", "1.2.1.2"))
    assert world.arrivals.take_progress() == [("1.2", 2)]


@pytest.mark.parametrize(
    "sent",
    [
        {"called": "SOUTH", "calling": "MR1"},
        {"called": "NOWHERE"},
        {"SeriesInstanceUID": "abc"},
        {"SOPInstanceUID": ""},
        {"StudyInstanceUID": "1.2\0001.2.1"},
        {"PatientID": "P1\0", "SOPInstanceUID": "x"},
    ],
)
def test_the_short_question_lets_nothing_pass_that_the_whole_one_refuses(
    world: World, sent: dict[str, str]
) -> None:
    world.c_store()
    world.ingest.stored(Dicom(), INSTANCE)
    assert world.c_store(**sent) != 0
    assert world.records[-1].verdict == "denied"


def test_a_sender_that_was_taken_from_the_directory_does_not_pass_shortly(world: World) -> None:
    world.c_store()
    world.ingest.stored(Dicom(), INSTANCE)
    world.directory = Directory({"NORTH": "north"}, {"north": (CallingAE("MR1"),)})
    assert world.c_store(SOPInstanceUID="1.2.1.2") == 0x0124


def test_a_role_that_was_lost_during_a_stow_is_not_let_pass_shortly(world: World) -> None:
    world.stow(MEMBER)
    world.ingest.stored(Dicom(), INSTANCE)
    assert world.stow(Request("/x", Principal("m", Role.VIEWER, "north"))) != PROCEED


def test_what_is_stored_while_the_database_is_away_reopens_its_study_later(world: World) -> None:
    world.c_store()
    world.ingest.stored(Dicom(), INSTANCE)
    world.arrivals.take_progress()
    world.c_store(SOPInstanceUID="1.2.1.2")
    assert world.arrivals.close_if_idle("1.2")
    world.rows["1.2"]["state"] = "stable"
    world.database_is_up = False
    world.ingest.stored(Dicom(), orthanc_id("P1", "1.2", "1.2.1", "1.2.1.2"))
    with pytest.raises(DatabaseUnavailable):
        world.ingest.count_owed()
    assert world.rows["1.2"]["state"] == "stable"
    world.database_is_up = True
    world.ingest.count_owed()
    assert world.rows["1.2"]["state"] == "receiving"
    assert world.arrivals.is_open("1.2")


def test_what_is_owed_for_a_study_that_has_another_owner_now_stops_nothing(world: World) -> None:
    world.c_store()
    world.database_is_up = False
    world.ingest.stored(Dicom(), INSTANCE)
    world.database_is_up = True
    world.rows["1.2"]["tenant_id"] = "south"
    world.ingest.count_owed()
    world.ingest.count_owed()
    assert world.rows["1.2"]["tenant_id"] == "south"


CT1, CT2 = Sender("CT1", "NORTH", "10.0.0.7"), Sender("CT2", "NORTH", "10.0.0.7")


def send(world: World, series: str, number: int, **sent: str) -> None:
    """One instance of a series of the study is sent, admitted and stored."""
    instance = f"{series}.{number}"
    tags = {"SeriesInstanceUID": series, "SOPInstanceUID": instance}
    assert world.c_store(**tags, **sent) == 0
    world.ingest.stored(Dicom(), orthanc_id("P1", "1.2", series, instance))


def test_a_study_from_one_sender_has_no_notes_of_its_series(world: World) -> None:
    send(world, "1.2.1", 1)
    send(world, "1.2.2", 1)
    assert world.first_sender == {"1.2": CT1}
    assert world.began == []


def test_another_sender_is_noted_once_for_each_series_that_they_begin(world: World) -> None:
    send(world, "1.2.1", 1)
    for series in ("1.2.2", "1.2.3"):
        for number in (1, 2):
            send(world, series, number, calling="CT2")
    send(world, "1.2.3", 3)
    assert world.began == [("1.2.2", CT2), ("1.2.3", CT2)]


def test_who_sends_more_into_anothers_series_has_not_begun_it(world: World) -> None:
    send(world, "1.2.1", 1)
    send(world, "1.2.1", 2, calling="CT2")
    world.answers[f"/series/{orthanc_id('P1', '1.2', '1.2.0')}"] = {}  # from before a restart
    send(world, "1.2.0", 2, calling="CT2")
    assert world.began == []


def test_the_study_names_the_address_of_who_stores_by_http(world: World) -> None:
    name = Principal("STOW of room 1", Role.MEMBER, "north")
    world.stow(Request("/dicom-web/studies", name, "10.0.0.9"))
    assert world.first_sender == {"1.2": Sender(address="10.0.0.9")}


def test_the_output_of_a_job_is_of_no_sender(world: World) -> None:
    send(world, "1.2.1", 1)
    world.answers["/instances/parent/study"] = {"MainDicomTags": {"StudyInstanceUID": "1.2"}}
    made = {"SeriesInstanceUID": "1.2.9", "SOPInstanceUID": "1.2.9.1"}
    body = {"RequestOrigin": "RestApi", "PatientID": "P1", "StudyInstanceUID": "1.2"} | made
    assert world.ask(body) == PROCEED
    stored = orthanc_id("P1", "1.2", "1.2.9", "1.2.9.1")
    world.answers[f"/series/{orthanc_id('P1', '1.2', '1.2.9')}"] = {}
    world.ingest.stored(Dicom(ModifiedFrom="parent"), stored)
    assert world.began == [("1.2.9", Sender())]
