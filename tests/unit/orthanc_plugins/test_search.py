import json
from typing import Any

import pytest

from gateway.identity import Principal, Role
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


def test_a_foreign_study_costs_the_look_into_the_database_that_an_unknown_one_does(
    archive: Archive,
) -> None:
    looked_up: list[str] = []
    searcher = Searcher(archive, OWNERS.get, looked_up.append)
    for study in ("1.2.1", "1.2.2"):
        searcher.find({"Level": "Study", "Query": {"StudyInstanceUID": study}}, "north")
    assert looked_up == [searcher.absent]


@pytest.mark.parametrize("key", ["StudyInstanceUID", "0020000D", "SOPInstanceUID"])
def test_any_uid_is_no_condition(searcher: Searcher, archive: Archive, key: str) -> None:
    searcher.find({"Level": "Study", "Query": {key: "*", "PatientID": "P*"}}, "north")
    assert archive.asked[0]["Query"] == {"PatientID": "P*"}
    assert archive.asked[0]["Labels"] == ["tenant-north"]


@pytest.mark.parametrize("pattern", ["1.2.*", "1.?.1", "?*"])
def test_a_pattern_of_uids_matches_nothing_and_is_no_error(
    searcher: Searcher, archive: Archive, pattern: str
) -> None:
    query = {"StudyInstanceUID": pattern}
    assert searcher.find({"Level": "Study", "Query": query}, "north") == b"[]"
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
    assert all("RequestedTags" in asked for asked in archive.asked)
    assert json.loads(searcher.find(request, "north"))


@pytest.mark.parametrize("key", ["SOPInstanceUID", "SeriesInstanceUID"])
def test_anothers_instance_costs_what_an_absent_one_does_a_look_up_that_finds_and_one_that_does_not(
    key: str,
) -> None:
    found: list[bool] = []

    def archive(body: str) -> bytes:
        (uid,) = json.loads(body)["Query"].values()
        found.append(uid in ("1.2.1.1.1", "1.2.2.1.1"))
        if not found[-1]:
            return b"[]"
        return json.dumps([{"RequestedTags": {"StudyInstanceUID": uid[:5]}}]).encode()

    def cost(uid: str) -> list[bool]:
        found.clear()
        assert searcher.find({"Level": "Instance", "Query": {key: uid}}, "east") == b"[]"
        return sorted(found)

    searcher = Searcher(archive, OWNERS.get)
    cost("1.2.1.1.1")  # the first that anybody looks for tells which one there is
    assert cost("1.2.2.1.1") == cost("1.2.9.9.9") == [False, True]


def test_an_own_instance_is_looked_up_once(searcher: Searcher, archive: Archive) -> None:
    searcher.find({"Level": "Instance", "Query": {"SOPInstanceUID": "1.2.1.1.1"}}, "north")
    assert sum("RequestedTags" in asked for asked in archive.asked) == 1


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


class Lent:
    """Studies that are shared with a tenant; remembers which were asked for."""

    def __init__(self, **studies: list[str]) -> None:
        self._studies = studies
        self.asked: list[str] = []

    def studies(self, tenant_id: str) -> list[str]:
        return self._studies.get(tenant_id, [])

    def allow(self, tenant_id: str, study_uid: str) -> bool:
        self.asked.append(study_uid)
        return study_uid in self.studies(tenant_id)


@pytest.mark.parametrize("level", ["Study", "Series", "Instance"])
def test_a_shared_study_is_looked_up_by_its_uid_alone(archive: Archive, level: str) -> None:
    searcher = Searcher(archive, OWNERS.get, grants=Lent(north=["1.2.2"]))
    query = {"StudyInstanceUID": "1.2.2"}
    searcher.find({"Level": level, "Query": query, "Labels": ["x"]}, "north")
    assert archive.asked == [{"Level": level, "Query": query}]


def test_what_is_shared_with_one_tenant_is_not_looked_for_by_another(archive: Archive) -> None:
    searcher = Searcher(archive, {"1.2.2": "south"}.get, grants=Lent(east=["1.2.2"]))
    request = {"Level": "Study", "Query": {"StudyInstanceUID": "1.2.2"}}
    assert searcher.find(request, "north") == b"[]"
    assert archive.asked == []


def test_a_list_holds_what_is_shared_and_then_the_tenants_own(archive: Archive) -> None:
    searcher = Searcher(archive, OWNERS.get, grants=Lent(north=["1.2.2", "1.2.9"]))
    request = {"Level": "Series", "Query": {"Modality": "CT"}, "Labels": ["tenant-south"]}
    searcher.find(request, "north")
    shared, own = archive.asked
    assert shared["Query"] == {"Modality": "CT", "StudyInstanceUID": "1.2.2\\1.2.9"}
    assert "Labels" not in shared
    assert own["Labels"] == ["tenant-north"]
    assert own["Query"] == {"Modality": "CT"}


@pytest.mark.parametrize(("since", "limit"), [(0, 0), (0, 1), (0, 3), (1, 2), (2, 1), (3, 9)])
def test_the_pages_of_a_list_with_shared_studies_are_those_of_one_list(
    since: int, limit: int
) -> None:
    whole = ["shared-1", "shared-2", "own-1", "own-2", "own-3"]

    def archive(body: str) -> bytes:
        asked = json.loads(body)
        found = whole[2:] if "Labels" in asked else whole[:2]
        begin, count = asked.get("Since", 0), asked.get("Limit", 0)
        return json.dumps(found[begin : begin + count if count else None]).encode()

    searcher = Searcher(archive, OWNERS.get, grants=Lent(north=["1.2.2"]))
    answer = searcher.find({"Level": "Study", "Query": {}, "Since": since, "Limit": limit}, "north")
    assert json.loads(answer) == whole[since : since + limit if limit else None]


@pytest.mark.parametrize("key", ["StudyInstanceUID", "0020,000d"])
def test_a_list_of_uids_finds_of_what_is_shared_only_those(archive: Archive, key: str) -> None:
    searcher = Searcher(archive, OWNERS.get, grants=Lent(north=["1.2.2", "1.2.9"]))
    searcher.find({"Level": "Study", "Query": {key: "1.2.3\\1.2.9"}}, "north")
    assert archive.asked[0]["Query"] == {"StudyInstanceUID": "1.2.9"}
    archive.asked.clear()
    searcher.find({"Level": "Study", "Query": {key: "1.2.3\\1.2.4"}}, "north")
    assert len(archive.asked) == 1
    assert archive.asked[0]["Labels"] == ["tenant-north"]


def test_an_instance_by_its_uid_alone_is_found_in_a_shared_study(archive: Archive) -> None:
    searcher = Searcher(archive, OWNERS.get, grants=Lent(south=["1.2.1"]))
    request = {"Level": "Instance", "Query": {"SOPInstanceUID": "1.2.1.1.1"}}
    assert json.loads(searcher.find(request, "south"))


def test_there_is_no_patient_of_a_shared_study(archive: Archive) -> None:
    searcher = Searcher(archive, OWNERS.get, grants=Lent(north=["1.2.2"]))
    request = {"Level": "Patient", "Query": {"StudyInstanceUID": "1.2.2"}}
    assert searcher.find(request, "north") == b"[]"
    assert archive.asked == []


VISITOR = Principal("link 1", Role.VIEWER, None, study_uid="1.2.1")


def ask(override: FindOverride, level: str = "Study", **query: str) -> Any:
    output = Output()
    body = json.dumps({"Level": level, "Query": query, "Labels": ["x"]}).encode()
    override(output, "/tools/find", "POST", {}, body)
    return json.loads(output.answer)


@pytest.mark.parametrize("level", ["Study", "Series", "Instance"])
@pytest.mark.parametrize("query", [{}, {"PatientID": "P"}, {"StudyInstanceUID": "*"}])
def test_whoever_came_by_a_link_asks_within_its_study_whatever_they_ask(
    searcher: Searcher, archive: Archive, level: str, query: dict[str, str]
) -> None:
    ask(FindOverride(searcher, lambda headers: VISITOR, lambda: True), level, **query)
    (asked,) = archive.asked
    assert asked["Query"]["StudyInstanceUID"] == "1.2.1"
    assert "Labels" not in asked


@pytest.mark.parametrize("uid", ["1.2.2", "1.2.*", "1.2.2\\1.2.3"])
def test_another_study_is_not_looked_for_on_behalf_of_a_link(
    searcher: Searcher, archive: Archive, uid: str
) -> None:
    override = FindOverride(searcher, lambda headers: VISITOR, lambda: True)
    assert ask(override, StudyInstanceUID=uid) == []
    assert ask(override, "Patient") == []
    assert archive.asked == []


def test_somebody_signed_in_who_opened_a_link_sees_its_study_beside_their_own(
    searcher: Searcher, archive: Archive
) -> None:
    south = Principal("sue", Role.MEMBER, "south")
    override = FindOverride(
        searcher, lambda headers: south, lambda: True, visitor_of=lambda headers: VISITOR
    )
    assert ask(override, StudyInstanceUID="1.2.1")
    ask(override, StudyInstanceUID="1.2.2")
    ask(override)
    link, own, everything = archive.asked
    assert link["Query"] == {"StudyInstanceUID": "1.2.1"}
    assert own["Query"] == {"StudyInstanceUID": "1.2.2"}
    assert everything["Labels"] == ["tenant-south"]


def test_a_role_without_tenant_or_link_finds_nothing(searcher: Searcher, archive: Archive) -> None:
    lost = Principal("lost", Role.VIEWER, None)
    assert ask(FindOverride(searcher, lambda headers: lost, lambda: True)) == []
    assert archive.asked == []
