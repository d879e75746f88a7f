"""What an export says of a record, by the published structure of each format."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from gateway.audit.export import FORMATS, lines

STUDY = "1.2.826.0.1.3680043.8.498.1"


def row(**changed: Any) -> dict[str, Any]:
    return {
        "audit_id": 7,
        "at": datetime(2026, 1, 31, 12, 0, 0, 123456, UTC),
        "tenant_id": "north",
        "actor": "nurse@north.example",
        "action": "read-study",
        "resource": f"study {STUDY}",
        "verdict": "allowed",
        "origin": "10.0.0.7",
        "detail": "12 frames",
        "hash": b"\x00\xff",
        "correlation": "0123456789abcdef0123456789abcdef",
    } | changed


SEARCH = row(resource="search", detail="search studies by PatientID")
MOVE = row(detail="C-MOVE to WS1 at ws1:104: 3 instances")
DENIED = row(verdict="denied", tenant_id=None, origin="", detail="")
ROWS = {
    "read": (row(), "110103", "R"),
    "search": (SEARCH, "110112", "E"),
    "c-find in a study": (row(detail="C-FIND search IMAGE"), "110112", "E"),
    "c-move": (MOVE, "110104", "R"),
    "store": (row(action="store-study"), "110104", "C"),
    "delete": (row(action="delete-study"), "110105", "D"),
    "sign-in": (row(action="sign-in", resource="person a"), "110114", "E"),
    "key": (row(action="create-key", resource="key 3"), "110113", "C"),
    "export": (row(action="export-audit", resource="audit as fhir"), "110101", "R"),
    "foreign": (row(action="whatever-comes", resource="x"), "110100", "E"),
    "denied": (DENIED, "110103", "R"),
    "from before correlation ids": (row(correlation=None), "110103", "R"),
}
EVERY = pytest.mark.parametrize(("record", "event", "action"), list(ROWS.values()), ids=list(ROWS))


def fhir(record: dict[str, Any]) -> dict[str, Any]:
    resource: dict[str, Any] = json.loads(FORMATS["fhir"](record))
    return resource


def dicom(record: dict[str, Any]) -> ET.Element:
    return ET.fromstring(FORMATS["dicom"](record))


@EVERY
@pytest.mark.parametrize("form", list(FORMATS))
def test_every_record_is_one_line(
    form: str, record: dict[str, Any], event: str, action: str
) -> None:
    (line,) = lines([record | {"detail": f"{record['detail']}\nFORGED"}], form)
    assert line.endswith("\n")
    assert line.count("\n") == 1


def test_a_json_line_holds_the_whole_record() -> None:
    told = json.loads(FORMATS["jsonl"](row()))
    assert told == row() | {"at": "2026-01-31T12:00:00.123Z", "hash": "00ff"}


@EVERY
def test_an_audit_event_has_what_fhir_r4_requires(
    record: dict[str, Any], event: str, action: str
) -> None:
    resource = fhir(record)
    assert resource["resourceType"] == "AuditEvent"
    assert resource["type"]["system"] == "http://dicom.nema.org/resources/ontology/DCM"
    assert (resource["type"]["code"], resource["action"]) == (event, action)
    assert resource["recorded"] == "2026-01-31T12:00:00.123Z"
    assert resource["outcome"] == ("0" if record["verdict"] == "allowed" else "4")
    assert [agent["requestor"] for agent in resource["agent"]] == [True]
    assert resource["source"]["observer"]
    for entity in resource["entity"]:
        assert ("name" in entity) != ("query" in entity)  # constraint sev-1
        assert all(detail["type"] and detail["valueString"] for detail in entity["detail"])
    # Known elements alone, none empty (FHIR allows neither "" nor null nor []).
    known = {
        "resourceType", "id", "type", "subtype", "action", "recorded", "outcome", "outcomeDesc",
        "agent", "source", "entity",
    }  # fmt: skip
    assert set(resource) <= known
    assert not any(value in ("", None, [], {}) for value in values(resource))


def values(node: Any) -> list[Any]:
    if isinstance(node, dict):
        return [node, *(found for value in node.values() for found in values(value))]
    if isinstance(node, list):
        return [node, *(found for value in node for found in values(value))]
    return [node]


def test_an_audit_event_names_the_study_the_person_and_the_request() -> None:
    resource = fhir(row())
    (entity,) = resource["entity"]
    assert entity["what"]["identifier"] == {"system": "urn:dicom:uid", "value": f"urn:oid:{STUDY}"}
    assert resource["agent"][0]["who"]["identifier"]["value"] == "nurse@north.example"
    assert resource["agent"][0]["network"] == {"address": "10.0.0.7", "type": "2"}
    told = {"type": "correlation", "valueString": "0123456789abcdef0123456789abcdef"}
    assert told in entity["detail"]
    assert resource["source"]["site"] == "north"


# PS3.15 A.5.1: of each element its attributes (those in capitals... `!` must be there) and children
# in the schema's order, `!` exactly one, `+` one or more, `*` any number, `?` at most one.
CODED = ("csd-code! codeSystemName! displayName originalText!", "")
SCHEMA: dict[str, tuple[str, str]] = {
    "AuditMessage": (
        "",
        """EventIdentification! ActiveParticipant+ AuditSourceIdentification!
        ParticipantObjectIdentification*""",
    ),
    "EventIdentification": (
        "EventActionCode EventDateTime! EventOutcomeIndicator!",
        "EventID! EventTypeCode* EventOutcomeDescription?",
    ),
    "EventID": CODED,
    "EventTypeCode": CODED,
    "EventOutcomeDescription": ("", ""),
    "ActiveParticipant": (
        """UserID! AlternativeUserID UserName UserIsRequestor! NetworkAccessPointID
        NetworkAccessPointTypeCode""",
        "RoleIDCode* MediaIdentifier?",
    ),
    "AuditSourceIdentification": (
        "AuditEnterpriseSiteID AuditSourceID!", "AuditSourceTypeCode*",
    ),
    "AuditSourceTypeCode": ("csd-code! codeSystemName displayName originalText", ""),
    "ParticipantObjectIdentification": (
        """ParticipantObjectID! ParticipantObjectTypeCode ParticipantObjectTypeCodeRole
        ParticipantObjectDataLifeCycle ParticipantObjectSensitivity""",
        """ParticipantObjectIDTypeCode! ParticipantObjectName? ParticipantObjectQuery?
        ParticipantObjectDetail* ParticipantObjectDescription*""",
    ),
    "ParticipantObjectIDTypeCode": CODED,
    "ParticipantObjectName": ("", ""),
    "ParticipantObjectQuery": ("", ""),
    "ParticipantObjectDetail": ("type! value!", ""),
}  # fmt: skip


def check(element: ET.Element) -> None:
    attributes, children = SCHEMA[element.tag]
    known = {name.rstrip("!") for name in attributes.split()}
    required = {name[:-1] for name in attributes.split() if name.endswith("!")}
    assert required <= set(element.attrib) <= known, element.tag
    tags = [child.tag for child in element]
    expected = [(word[:-1], word[-1]) for word in children.split()]
    order = [name for name, _ in expected]
    assert tags == sorted(tags, key=order.index), element.tag
    for name, times in expected:
        count = tags.count(name)
        assert count >= (times in "!+"), name
        assert count <= 1 or times in "+*", name
    for child in element:
        check(child)


@EVERY
def test_a_dicom_message_is_what_the_schema_of_ps3_15_takes(
    record: dict[str, Any], event: str, action: str
) -> None:
    message = dicom(record)
    check(message)
    identification = message.find("EventIdentification")
    assert identification is not None
    assert identification.attrib["EventActionCode"] == action
    found = identification.find("EventID")
    assert found is not None
    assert found.attrib["csd-code"] == event
    (about,) = message.findall("ParticipantObjectIdentification")
    # Either a name or a query.
    assert (
        len(about.findall("ParticipantObjectName") + about.findall("ParticipantObjectQuery")) == 1
    )


def test_a_dicom_message_names_the_study_by_its_uid() -> None:
    about = dicom(row()).find("ParticipantObjectIdentification")
    assert about is not None
    assert about.attrib["ParticipantObjectID"] == STUDY
    kind = about.find("ParticipantObjectIDTypeCode")
    assert kind is not None
    assert kind.attrib["csd-code"] == "110180"


def test_a_search_is_a_query_of_attributes_without_values() -> None:
    query = dicom(SEARCH).findtext("ParticipantObjectIdentification/ParticipantObjectQuery")
    assert base64.b64decode(query or "") == b"search studies by PatientID"


def test_what_xml_cannot_hold_does_not_break_the_message() -> None:
    message = dicom(row(actor="a\x01<b>&\udfff", detail="]]>"))
    participant = message.find("ActiveParticipant")
    assert participant is not None
    assert participant.attrib["UserID"] == "a?<b>&?"
