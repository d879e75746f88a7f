import json
from typing import Any

import pytest

from orthanc_plugins.search import FindOverride, Searcher, decoded, exact_uid, labelled

OWNERS = {"1.2.1": "north", "1.2.2": "south"}


class Archive:
    """Answers /tools/find from a list of studies, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def __call__(self, body: str) -> bytes:
        request = json.loads(body)
        self.asked.append(request)
        if "RequestedTags" in request:
            return b'[{"RequestedTags": {"StudyInstanceUID": "1.2.1"}}]'
        if request["Level"] == "Study":
            return b'["study-a", "study-b"]'
        return json.dumps(
            [f"{request.get('ParentStudy')}-{i}" for i in range(3)][: request.get("Limit", 3)]
        ).encode()


@pytest.fixture
def archive() -> Archive:
    return Archive()


@pytest.fixture
def searcher(archive: Archive) -> Searcher:
    return Searcher(archive, OWNERS.get)


@pytest.mark.parametrize("level", ["Study", "Series"])
def test_a_search_of_studies_and_series_carries_the_label_of_the_tenant_and_no_other(
    searcher: Searcher, archive: Archive, level: str
) -> None:
    request = {"Level": level, "Query": {}, "Labels": ["tenant-south"], "LabelsConstraint": "None"}
    searcher.find(request, "north")
    assert archive.asked[0]["Labels"] == ["tenant-north"]
    assert archive.asked[0]["LabelsConstraint"] == "All"


@pytest.mark.parametrize("level", ["Study", "Series", "Instance"])
@pytest.mark.parametrize("key", ["StudyInstanceUID", "0020,000d", "0020000D"])
def test_anothers_study_is_not_even_looked_for(
    searcher: Searcher, archive: Archive, level: str, key: str
) -> None:
    assert searcher.find({"Level": level, "Query": {key: "1.2.2"}}, "north") == b"[]"
    assert archive.asked == []


def test_a_study_of_nobody_is_not_looked_for(searcher: Searcher, archive: Archive) -> None:
    request = {"Level": "Instance", "Query": {"StudyInstanceUID": "1.2.3"}}
    assert searcher.find(request, "north") == b"[]"


@pytest.mark.parametrize("level", ["Patient", "", "Nonsense"])
def test_there_is_no_patient_of_ones_own(searcher: Searcher, archive: Archive, level: str) -> None:
    assert searcher.find({"Level": level, "Query": {}}, "north") == b"[]"
    assert archive.asked == []


def test_instances_of_ones_own_study_are_passed_on_without_labels(
    searcher: Searcher, archive: Archive
) -> None:
    query = {"StudyInstanceUID": "1.2.1"}
    searcher.find({"Level": "Instance", "Query": query, "Labels": ["x"]}, "north")
    assert archive.asked == [{"Level": "Instance", "Query": query}]


def test_instances_without_a_study_come_from_the_tenants_studies_with_since_and_limit(
    searcher: Searcher, archive: Archive
) -> None:
    request = {"Level": "Instance", "Query": {}, "Since": 2, "Limit": 2}
    assert json.loads(searcher.find(request, "north")) == ["study-a-2", "study-b-0"]
    assert archive.asked[0]["Labels"] == ["tenant-north"]


def test_an_instance_by_its_uid_alone_is_looked_for_in_its_owners_study(
    searcher: Searcher, archive: Archive
) -> None:
    request = {"Level": "Instance", "Query": {"SOPInstanceUID": "1.2.1.1.1"}}
    assert json.loads(searcher.find(request, "south")) == []
    assert len(archive.asked) == 1
    assert json.loads(searcher.find(request, "north"))


@pytest.mark.parametrize("value", ["1.2.*", "1.2?", "1.2\\1.3", "", "1.2,1.3", "1.2 ", None])
def test_what_is_no_single_uid_is_not_exact(value: str | None) -> None:
    assert exact_uid({"StudyInstanceUID": value}, "StudyInstanceUID") is None


def test_two_spellings_of_a_key_with_two_values_are_not_exact() -> None:
    query = {"StudyInstanceUID": "1.2.1", "0020,000d": "1.2.2"}
    assert exact_uid(query, "StudyInstanceUID") is None


@pytest.mark.parametrize(
    ("raw", "value"),
    [("DOE%5E*", "DOE^*"), ("Doe^0", "Doe^0"), ("a+b%2Bc", "a b+c"), ("M%C3%BCller", "Müller")],
)
def test_values_are_percent_decoded(raw: str, value: str) -> None:
    assert decoded({"Query": {"PatientName": raw}})["Query"] == {"PatientName": value}


def test_the_request_that_was_given_is_not_changed() -> None:
    request = {"Level": "Study", "Query": {}}
    labelled(request, "north")
    assert request == {"Level": "Study", "Query": {}}


class Output:
    """Keeps what a REST callback answered."""

    answer: bytes | str = b""

    def AnswerBuffer(self, answer: bytes | str, mime: str) -> None:
        self.answer = answer

    def SendHttpStatus(self, status: int, body: bytes | str) -> None: ...

    def SendMethodNotAllowed(self, allowed: str) -> None:
        self.answer = f"405 {allowed}"


def test_nobody_finds_nothing(searcher: Searcher, archive: Archive) -> None:
    output = Output()
    override = FindOverride(searcher, lambda headers: None, lambda: True)
    override(output, "/tools/find", "POST", {}, b'{"Level": "Study", "Query": {}}')
    assert output.answer == b"[]"
    assert archive.asked == []
