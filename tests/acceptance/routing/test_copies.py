"""One rule sends corrected copies to an archive and copies without names to research."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from extensions.routing.changes.original_attributes import revert
from tests.acceptance.conftest import RunningGateway
from tests.acceptance.routing.chest_ct import SLICES, Examination, dumped, objects_in
from tests.acceptance.routing.copying import PROJECT, Hospital, hospital_of
from tests.acceptance.routing.test_commitment_at_destinations import Pacs
from tests.acceptance.routing.test_destinations import (
    becomes,
    bucket,  # noqa: F401  a fixture
    destination,
    send,
    slices,
)
from tests.acceptance.routing.test_forwarding import ledger


@pytest.fixture(scope="module")
def hospital(
    gateway: RunningGateway, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hospital]:
    with hospital_of(gateway, tmp_path_factory.mktemp("receivers")) as hospital:
        yield hospital


@pytest.fixture(scope="module")
def sent(hospital: Hospital, tmp_path_factory: pytest.TempPathFactory) -> Examination:
    """An examination that the rule has caught, when it has arrived at both."""
    made = hospital.examine(tmp_path_factory.mktemp("sent") / "ct", "A-31001")
    becomes(hospital.gateway, made.study_uid, delivered=SLICES, verified=SLICES)
    return made


def test_the_archive_gets_the_number_of_the_table_and_a_note_of_what_it_was(
    hospital: Hospital, sent: Examination
) -> None:
    arrived = hospital.in_archive(sent)
    assert len(arrived) == SLICES
    for file in arrived:
        told = dumped(file)
        own, _, note = told.partition("(0400,0561)")
        assert re.search(r"^\(0008,0050\) SH \[N-81001\]", own, re.MULTILINE)
        assert re.search(r"^\(0008,0080\) LO \[Northern Trust\]", own, re.MULTILINE)
        for before in ("[A-31001]", "[Old Infirmary]", "[ARGONATH morph]", "[COERCE]"):
            assert before in note
        assert "[ARGONATH crosswalk accession v1]" in note


def test_the_archives_copies_can_be_reverted_to_what_was_received(
    hospital: Hospital, sent: Examination
) -> None:
    for copy in hospital.in_archive(sent).values():
        assert revert(copy) == 2
        assert copy == sent.datasets[copy.SOPInstanceUID]


def test_research_gets_copies_that_say_what_was_done_to_them(
    hospital: Hospital, sent: Examination
) -> None:
    arrived = hospital.in_research(sent)
    assert len(arrived) == SLICES
    for file in arrived:
        told = dumped(file)
        assert "[PS3.15 Basic Application Confidentiality Profile]" in told
        assert re.search(rf"^\(0010,0010\) PN \[{PROJECT}-", told, re.MULTILINE)
        assert "(0400,0561)" not in told


def test_nothing_on_researchs_disk_tells_who_was_examined_where_and_when(
    hospital: Hospital, sent: Examination
) -> None:
    telling = {it.lower().encode() for it in {*sent.telling, "N-81001", "Northern Trust"}}
    named = b"".join(file.read_bytes() for file in hospital.in_archive(sent)).lower()
    assert {it for it in telling if it not in named} == set()
    for file in hospital.research.rglob("*"):
        if file.is_file():
            content = file.read_bytes().lower()
            assert {it for it in telling if it in content} == set(), file


def test_the_gateways_own_archive_keeps_what_it_received(
    hospital: Hospital, sent: Examination, tmp_path: Path
) -> None:
    with hospital.gateway.archive("north") as archive:
        for uid, made in sent.datasets.items():
            kept = tmp_path / f"{uid}.dcm"
            kept.write_bytes(archive.file_of(sent.study_uid, made.SeriesInstanceUID, uid))
            assert dcmread(kept) == made
            assert re.search(r"^\(0008,0050\) SH \[A-31001\]", dumped(kept), re.MULTILINE)


def test_the_ledger_names_each_copy_as_its_receiver_has_it(
    hospital: Hospital, sent: Examination
) -> None:
    found = hospital.deliveries_of(sent.study_uid)
    delivery, rows = found["research"]
    there = {
        (it.StudyInstanceUID, it.SeriesInstanceUID, it.SOPInstanceUID)
        for it in objects_in(hospital.research).values()
    }
    told = {(it.sent_study, it.sent_series, it.sent_as) for it in rows}
    assert told <= there
    assert len(told) == SLICES
    assert {it.sop_instance_uid for it in rows} == set(sent.datasets)
    assert (delivery.state, delivery.verified) == ("verified", SLICES)
    _, rows = found["archive"]
    assert {it.sent_as or it.sop_instance_uid for it in rows} == set(sent.datasets)


def test_what_a_person_sends_again_are_the_same_copies(
    hospital: Hospital, sent: Examination
) -> None:
    before = set(objects_in(hospital.research))
    delivery, rows = hospital.deliveries_of(sent.study_uid)["research"]
    verified = max(it.verified_at for it in rows if it.verified_at)
    to = f"/routing/studies/{sent.study_uid}/replay"
    again = {"destination": str(delivery.destination_id)}
    hospital.press(f"/studies/{sent.study_uid}", to, again)

    def is_verified() -> bool:
        _, rows = hospital.deliveries_of(sent.study_uid)["research"]
        return all(it.verified_at and it.verified_at > verified for it in rows)

    hospital.gateway.wait_until(is_verified, 60)
    assert set(objects_in(hospital.research)) == before


def test_what_lacks_one_of_the_rules_conditions_goes_nowhere(
    hospital: Hospital, tmp_path: Path
) -> None:
    before = len(objects_in(hospital.research))
    lacking: dict[str, dict[str, Any]] = {
        "another part of the body": {"BodyPartExamined": "HEAD"},
        "no contrast": {"ContrastBolusAgent": None},
        "another modality": {"Modality": "MR"},
        "another caller": {"calling": "CT1"},
    }
    made = [hospital.examine(tmp_path / name, "A-31001", **it) for name, it in lacking.items()]
    for each in made:
        hospital.gateway.wait_until(partial(hospital.is_left, each.study_uid), 60)
    assert [ledger(hospital.gateway, each.study_uid) for each in made] == [{}] * len(made)
    assert [hospital.in_archive(each) for each in made] == [{}] * len(made)
    assert len(objects_in(hospital.research)) == before


def test_a_number_that_the_table_lacks_waits_for_a_person_and_its_row(
    hospital: Hospital, tmp_path: Path
) -> None:
    made = hospital.examine(tmp_path / "ct", "A-31002")

    def states() -> list[str]:
        return [it.state for it, _ in hospital.deliveries_of(made.study_uid).values()]

    hospital.gateway.wait_until(lambda: states() == ["held", "held"], 60)
    for delivery, _ in hospital.deliveries_of(made.study_uid).values():
        assert "(version 1) has no row for the study's AccessionNumber" in delivery.held
        assert "A-31002" not in delivery.held
    assert hospital.in_archive(made) == {}

    hospital.import_table("A-31001,N-81001\nA-31002,N-81002\n")
    for delivery, _ in hospital.deliveries_of(made.study_uid).values():
        page = f"/routing/deliveries/{delivery.delivery_id}"
        hospital.press(page, f"{page}/release", {})
    becomes(hospital.gateway, made.study_uid, delivered=SLICES, verified=SLICES)
    told = [dumped(file) for file in hospital.in_archive(made)]
    assert len(told) == SLICES
    assert all("[N-81002]" in it and "[ARGONATH crosswalk accession v2]" in it for it in told)


@pytest.mark.usefixtures("hospital")
def test_storage_commitment_is_asked_for_by_the_uids_of_the_copies(gateway: RunningGateway) -> None:
    pacs = Pacs(gateway)
    pacs.reports_at_once = True
    steps = [{"anonymize": {"project": PROJECT}}]
    with destination(gateway, "dimse", steps, **pacs.place) as patient:
        study, received = send(gateway, patient, *slices(patient, 2))
        becomes(gateway, study, verified=2)
    pacs.server.shutdown()
    asked = {str(it.ReferencedSOPInstanceUID) for it in pacs.asked[0].ReferencedSOPSequence}
    assert asked == set(pacs.stored)
    assert not asked & set(received)


@pytest.mark.usefixtures("hospital")
def test_an_object_without_names_has_none_in_its_key_either(
    gateway: RunningGateway,
    bucket: Any,  # noqa: F811  the fixture
) -> None:
    there = {"url": bucket.meta.endpoint_url, "bucket": "studies", "access_key": "ann"}
    steps = [{"anonymize": {"project": PROJECT}}]
    with destination(gateway, "s3", steps, **there, secret_key="hush") as patient:
        study, received = send(gateway, patient, *slices(patient, 2))
        becomes(gateway, study, delivered=2)
    kept = [it["Key"] for it in bucket.list_objects_v2(Bucket="studies")["Contents"]]
    assert len(kept) == 2
    for key in kept:
        whole = key.encode() + bucket.get_object(Bucket="studies", Key=key)["Body"].read()
        assert not [it for it in (patient, study, *received) if it.encode() in whole]
