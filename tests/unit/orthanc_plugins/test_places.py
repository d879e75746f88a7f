"""Where files lie is told to our own processes for the owner of the study, to nobody else."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from gateway.identity import Principal, Role, service_principal
from gateway.studies import orthanc_id
from orthanc_plugins.access import Request
from orthanc_plugins.places import Places
from orthanc_plugins.sdk import Orthanc

INFO = {"Uuid": "abcd-1", "CompressedSize": "700", "UncompressedSize": "700"}


class Archive:
    """Holds one instance of patient `7|9.9`."""

    OrthancException = ValueError
    held = orthanc_id("7|9.9", "1.2", "1.2.3", "1.2.3.4")

    def __init__(self, **info: str) -> None:
        self.info = INFO | info

    def RestApiGet(self, uri: str) -> bytes:
        if uri != f"/instances/{self.held}/attachments/dicom/info":
            raise ValueError
        return json.dumps(self.info).encode()

    def RestApiPost(self, uri: str, body: str) -> bytes:
        assert uri == "/tools/find"
        found = json.loads(body)
        assert found["Query"] == {"StudyInstanceUID": "1.2"}
        named = {"SOPInstanceUID": "1.2.3.4", "SeriesInstanceUID": "1.2.3", "SOPClassUID": "1.9"}
        return json.dumps([{"RequestedTags": named}]).encode()


class Output:
    """What was answered."""

    status = 200
    body: Any = None

    def AnswerBuffer(self, answer: str, _mime: str) -> None:
        self.body = json.loads(answer)

    def SendHttpStatus(self, status: int, _body: str) -> None:
        self.status = status

    def SendMethodNotAllowed(self, _allowed: str) -> None:
        self.status = 405


def ask(
    who: Principal | None,
    *instances: tuple[str, str],
    study: str = "1.2",
    patient_id: str = "7|9.9",
    archive: Archive | None = None,
    method: str = "POST",
) -> Output:
    owners = {"1.2": "north", "9.9": "south"}
    request = Request(f"/places/studies/{study}", who)
    places = Places(cast("Orthanc", archive or Archive()), lambda: request, owners.get)
    output = Output()
    body = json.dumps({"patient_id": patient_id, "instances": instances}).encode()
    places.route(output, request.path, method=method, groups=(study,), body=body)
    return output


OURS = ("1.2.3", "1.2.3.4")


def test_a_process_of_the_tenant_is_told_where_its_files_lie() -> None:
    answer = ask(service_principal("north"), OURS, ("1.2.3", "1.2.3.5"))
    assert answer.body == [["abcd-1", 700], None]


@pytest.mark.parametrize(
    ("who", "status"),
    [
        (None, 401),
        (service_principal("south"), 404),
        (Principal("o", Role.OWNER, "north"), 403),
        (Principal("s", Role.SYSTEM_ADMIN, None), 403),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nobody_else_is(who: Principal | None, status: int, method: str) -> None:
    answer = ask(who, OURS, method=method)
    assert (answer.status, answer.body) == (status, None)


def test_no_other_study_passes_for_ones_own() -> None:
    """What is hashed is `7|9.9|1.2|1.2.3|1.2.3.4`, which can be cut in another way."""
    south = service_principal("south")
    assert ask(south, ("1.2|1.2.3", "1.2.3.4"), study="9.9", patient_id="7").body == [None]


def test_a_compressed_file_lies_nowhere() -> None:
    archive = Archive(CompressedSize="300")
    assert ask(service_principal("north"), OURS, archive=archive).body == [None]


def test_a_process_of_the_tenant_is_told_which_instances_there_are() -> None:
    answer = ask(service_principal("north"), method="GET")
    assert answer.body == [["1.2.3.4", "1.2.3", "1.9", ""]]


def test_it_is_asked_in_two_ways_alone() -> None:
    assert ask(service_principal("north"), OURS, method="PUT").status == 405
