"""What the audit says of a read: what was named, and by which attributes, never their values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.audit import Record
from gateway.audit.reads import Reads
from gateway.dicom_tls.associations import Association
from gateway.identity import Principal, Role
from gateway.tenancy import CallingAE
from orthanc_plugins.access import Request
from orthanc_plugins.reads import (
    DimseAudit,
    ReadAudit,
    StudiesAt,
    resource_of,
    searched,
    series_of,
    way_of,
)

NURSE = Principal("nurse", Role.MEMBER, "north")
ROOT = Principal("root", Role.SYSTEM_ADMIN, None)
SERVICE = Principal("argonath", Role.SERVICE, "north")
STUDY = {"0020,000d": "1.2"}
# The studies that paths of Orthanc's own REST are about.
AT = {"/patients/p/archive": ["1.2", "1.3"], "/studies/s": ["1.2"]}


class World:
    """The requests of one thread, and what was written of them."""

    def __init__(self) -> None:
        self.request: Request | None = None
        self.written: list[Record] = []
        self.reads = Reads(self.write)
        self.audit = ReadAudit(
            self.reads,
            lambda: self.request,
            {"1.2": "north", "1.3": "south"}.get,
            self.write,
            lambda path: AT.get(path, ()),
        )
        self.dimse = DimseAudit(self.reads, self.write)

    def write(self, records: Sequence[Record]) -> None:
        self.written += records

    def flushed(self) -> list[Record]:
        self.reads.flush()
        return self.written


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize(
    ("query", "resource"),
    [
        ({"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.3"}, "study 1.2"),
        ({"0020,000E": "1.3"}, "series 1.3"),
        ({"SOPInstanceUID": "1.4"}, "instance 1.4"),
        ({"StudyInstanceUID": "1.2\\1.3"}, "search"),
        ({"PatientID": "1.2"}, "search"),
    ],
)
def test_the_resource_is_what_the_query_names(query: dict[str, str], resource: str) -> None:
    assert resource_of(query) == resource


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"PatientName": "Doe*", "Modality": "CT"}, "search studies by Modality, PatientName"),
        ({"0010,0010": "Doe", "00100020": "1"}, "search studies by PatientID, PatientName"),
        ({"0020,000d": "1.2"}, "search studies"),
        ({"PatientName": ""}, "search studies"),
        ({"0009,1001": "x"}, "search studies by 0009,1001"),
        ({"Doe^John born 1970": "x"}, "search studies by ?"),
    ],
)
def test_a_search_is_told_by_keywords_without_values(query: dict[str, str], told: str) -> None:
    assert searched("studies", query) == told


@pytest.mark.parametrize(
    ("path", "way"),
    [
        ("/dicom-web/studies/1.2", "retrieve"),
        ("/dicom-web/studies/1.2/", "retrieve"),
        ("/dicom-web/studies/1.2/series/1.3/instances/1.4/frames/1", "frames"),
        ("/dicom-web/studies/1.2/series/1.3/instances/1.4/bulk/7fe00010", "bulk"),
        ("/dicom-web/studies/1.2/series/1.3/thumbnail", "thumbnail"),
        ("/dicom-web/studies/1.2/series", "search series"),
        ("/wado", "WADO-URI"),
    ],
)
def test_the_way_is_read_off_the_path(path: str, way: str) -> None:
    assert way_of(path, {}) == way


def test_the_series_is_read_off_the_path() -> None:
    assert series_of("/dicom-web/studies/1.2/series/1.3/instances/1.4") == "1.3"
    assert series_of("/dicom-web/studies/1.2/series") == ""


def test_several_look_ups_of_one_request_are_one_read(world: World) -> None:
    world.request = Request("/dicom-web/studies/1.2/metadata", NURSE, "10.0.0.1")
    world.audit.dicomweb(NURSE, STUDY, False)
    world.audit.dicomweb(NURSE, STUDY | {"0020,000e": "1.3"}, False)
    world.request = Request("/dicom-web/studies/1.2/metadata", NURSE, "10.0.0.1")
    world.audit.dicomweb(NURSE, STUDY, False)
    (record,) = world.flushed()
    assert record.detail == "2 metadata"


def test_a_refused_look_up_is_written_at_once(world: World) -> None:
    world.request = Request("/dicom-web/studies/1.2/metadata", NURSE)
    world.audit.dicomweb(NURSE, STUDY, True)
    assert [record.verdict for record in world.written] == ["denied"]


def test_what_a_system_admin_reads_is_told_to_the_owner(world: World) -> None:
    world.request = Request("/dicom-web/studies/1.2", ROOT)
    world.audit.dicomweb(ROOT, STUDY, False)
    assert [record.tenant_id for record in world.flushed()] == ["north"]


def test_our_own_processes_are_audited_elsewhere(world: World) -> None:
    world.request = Request("/dicom-web/studies/1.2", SERVICE)
    world.audit.dicomweb(SERVICE, STUDY, False)
    world.audit.raw(Request("/studies", SERVICE), "DELETE")
    assert world.flushed() == []


def test_a_system_admins_change_of_the_raw_archive_is_written_before_it_is_done(
    world: World,
) -> None:
    world.audit.raw(Request("/studies/abc", ROOT), "DELETE")
    assert [record.resource for record in world.written] == ["DELETE /studies/abc"]
    world.audit.raw(Request("/studies", ROOT), "GET")
    world.audit.raw(Request("/app/explorer.html", ROOT), "GET")
    assert len(world.written) == 1
    assert [record.resource for record in world.flushed()[1:]] == ["GET /studies"]


def test_the_owners_see_what_a_system_admin_reads_and_changes_in_the_raw_archive(
    world: World,
) -> None:
    world.audit.raw(Request("/studies/s", ROOT), "DELETE")
    assert [(record.tenant_id, record.resource, record.detail) for record in world.written] == [
        ("north", "study 1.2", "Orthanc's REST: DELETE /studies/s")
    ]
    world.written.clear()
    world.audit.raw(Request("/patients/p/archive", ROOT), "GET")
    assert [(record.tenant_id, record.resource, record.action) for record in world.flushed()] == [
        ("north", "study 1.2", "raw-archive"),
        ("south", "study 1.3", "raw-archive"),
    ]


class Resources:
    """Orthanc with one series of the study 1.2, of a patient who also has 1.3."""

    OrthancException = RuntimeError
    NUMBER = "0123abcd-0123abcd-0123abcd-0123abcd-0123abcd"

    def RestApiGet(self, uri: str) -> bytes:
        one, two = ({"MainDicomTags": {"StudyInstanceUID": uid}} for uid in ("1.2", "1.3"))
        known = {
            f"/series/{self.NUMBER}/study": one,
            f"/patients/{self.NUMBER}/studies": [one, two],
        }
        if uri not in known:
            raise self.OrthancException(uri)
        return json.dumps(known[uri]).encode()


@pytest.mark.parametrize(
    ("path", "studies"),
    [
        (f"/series/{Resources.NUMBER}", ["1.2"]),
        (f"/series/{Resources.NUMBER}/archive", ["1.2"]),
        (f"/patients/{Resources.NUMBER}", ["1.2", "1.3"]),
        (f"/studies/{Resources.NUMBER}", []),
        ("/series/../changes", []),
        ("/series", []),
        ("/changes", []),
        ("/", []),
    ],
)
def test_a_path_of_the_raw_archive_is_about_the_studies_of_what_it_names(
    path: str, studies: list[str]
) -> None:
    assert list(StudiesAt(Resources())(path)) == studies  # type: ignore[arg-type]


def test_a_c_move_is_one_record_for_each_study_and_denied_when_there_is_nothing(
    world: World, tmp_path: Path
) -> None:
    who = Association("NORTH", "CT1", "10.0.0.1")
    target = CallingAE("WS1", host="ws1", port=104)
    world.dimse.move(who, "north", ["1.2", "1.3"], target, 5)
    world.dimse.move(who, "north", ["1.4"], target, 0)
    told = [(record.resource, record.verdict, record.detail) for record in world.written]
    assert told == [
        ("study 1.2", "allowed", "C-MOVE to WS1 at ws1:104: 5 instances"),
        ("study 1.3", "allowed", "C-MOVE to WS1 at ws1:104: 5 instances"),
        ("study 1.4", "denied", "C-MOVE to WS1 at ws1:104: nothing of the tenant's"),
    ]
