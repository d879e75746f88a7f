"""What an export says of a record, by the published structure of each format."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from pydicom.sr.codedict import codes

from gateway.audit import events, participants
from gateway.audit.events import Code
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
# What the archive holds of the study, as an export joins it.
PATIENT = {"patient_id": "P1", "patient_name": "Doe^Jane"}
KNOWN = PATIENT | {"accession_number": "A7", "instance_count": 12}
UNKNOWN = dict.fromkeys(KNOWN)
ROWS = {
    "read": (row(), "110103", "R"),
    "read a known study": (row(**KNOWN), "110103", "R"),
    "read a study that is gone": (row(**UNKNOWN), "110103", "R"),
    "read without accession": (row(**KNOWN | {"accession_number": ""}), "110103", "R"),
    "read of a nameless patient": (row(**KNOWN | {"patient_name": ""}), "110103", "R"),
    "open a share": (row(action="open-share"), "110103", "R"),
    "search": (SEARCH, "110112", "E"),
    "c-find in a study": (row(detail="C-FIND search IMAGE"), "110112", "E"),
    "commitment": (row(action="commit-storage", resource="transaction 1.2"), "110112", "E"),
    "worklist": (row(action="read-worklist", resource="called N", detail=""), "110112", "E"),
    "c-move": (MOVE, "110104", "R"),
    "store": (row(action="store-study", **KNOWN), "110104", "C"),
    "deliver": (row(action="deliver-study", detail="to Vault 2: 3 of 3"), "110104", "R"),
    "retrieve": (row(action="retrieve-study", actor="source PACS"), "110104", "C"),
    "delete": (row(action="delete-study"), "110105", "D"),
    "sign-in": (row(action="sign-in", resource="person a"), "110114", "E"),
    "openid": (row(action="sign-in-oidc", resource="person a"), "110114", "E"),
    "key": (row(action="create-key", resource="key 3"), "110113", "E"),
    "share": (row(action="share-study", **KNOWN), "110113", "E"),
    "crosswalk": (row(action="import-crosswalk", resource="crosswalk a"), "110113", "E"),
    "project": (row(action="delete-project", resource="research project A"), "110113", "E"),
    "held": (row(action="hold-rule", actor="routing"), "110100", "E"),
    "refused page": (row(action="get-page", resource="/keys", verdict="denied"), "110113", "E"),
    "refused caller": (row(resource="called NORTH", verdict="denied"), "110113", "E"),
    "refused series": (row(resource="series 1.2", verdict="denied"), "110113", "E"),
    "export": (row(action="export-audit", resource="audit as fhir"), "110101", "R"),
    "stop": (row(action="node.unclean-stop", resource="node a"), "110100", "E"),
    "foreign": (row(action="whatever-comes", resource="x"), "110100", "E"),
    "denied": (DENIED, "110103", "R"),
    "from before correlation ids": (row(correlation=None), "110103", "R"),
}
EVERY = pytest.mark.parametrize(("record", "event", "action"), list(ROWS.values()), ids=list(ROWS))


@pytest.mark.parametrize(
    ("action", "meaning"),
    [
        ("create-crosswalk", "Software Configuration"),
        ("change-crosswalk", "Software Configuration"),
        ("import-crosswalk", "Software Configuration"),
        ("delete-crosswalk", "Software Configuration"),
        ("read-crosswalk", "Use of Restricted Function"),
        ("create-project", "Security Configuration"),
        ("change-project", "Security Configuration"),
        ("delete-project", "Security Configuration"),
        ("reidentify", "Use of Restricted Function"),
        ("change-rules", "Software Configuration"),
        ("change-webhook", "Software Configuration"),
        ("change-stuck-alert", "Software Configuration"),
    ],
)
def test_a_change_of_what_is_sent_or_a_look_at_who_is_behind_it_says_its_type(
    action: str, meaning: str
) -> None:
    record = row(action=action, resource="x", actor="anna")
    assert fhir(record)["subtype"][0]["display"] == meaning
    told = dicom(record).find("EventIdentification/EventTypeCode")
    assert told is not None
    assert told.attrib["originalText"] == meaning


@pytest.mark.parametrize("action", ["hold-rule", "end-rule", "apply-rule"])
def test_what_a_rule_does_with_a_study_is_no_change_of_a_rule(action: str) -> None:
    assert events.event_of(row(action=action)) == events.Event(events.ACTIVITY, "E")


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
    assert [agent["requestor"] for agent in resource["agent"]].count(True) == 1
    assert resource["source"]["observer"]
    for entity in resource["entity"]:
        assert not ("name" in entity and "query" in entity)  # constraint sev-1
        assert {"what", "name", "query"} & set(entity)
        assert all(told["type"] and told["valueString"] for told in entity.get("detail", []))
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


def test_an_audit_event_names_the_patient_by_identifier_where_the_study_is_known() -> None:
    _study, patient = fhir(row(**KNOWN))["entity"]
    assert patient["what"] == {"identifier": {"value": "P1"}}
    assert (patient["type"]["code"], patient["role"]["code"]) == ("1", "1")
    assert patient["name"] == "Doe^Jane"


def test_an_audit_event_tells_sender_from_receiver() -> None:
    roles = [
        (agent["who"]["display"], agent["type"]["coding"][0]["code"])
        for agent in fhir(row(action="store-study"))["agent"]
    ]
    assert roles == [("nurse@north.example", "110153"), ("argonath", "110152")]


@pytest.mark.parametrize("form", ["fhir", "dicom"])
@pytest.mark.parametrize("record", [SEARCH, row(action="share-study")], ids=["search", "share"])
def test_an_event_that_is_not_of_a_study_names_no_patient(
    form: str, record: dict[str, Any]
) -> None:
    assert "P1" not in FORMATS[form](record | KNOWN)


def test_json_lines_name_no_patient_whatever_is_joined() -> None:
    assert FORMATS["jsonl"](row(**KNOWN)) == FORMATS["jsonl"](row())


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
    "ParticipantObjectDescription": (
        "",
        "MPPS* Accession* SOPClass* ParticipantObjectContainsStudy? Encrypted? Anonymized?",
    ),
    "Accession": ("Number!", ""),
    "SOPClass": ("UID NumberOfInstances!", "Instance*"),
    "RoleIDCode": CODED,
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
    for about in message.findall("ParticipantObjectIdentification"):
        named = [about.find(f"ParticipantObject{what}") for what in ("Name", "Query")]
        assert named.count(None) == 1  # either a name or a query


# PS3.15 A.5.3: what the messages of an event must have besides what the schema wants: roles of its
# active participants (`?`: any, or none), event types, and its objects as
# (ParticipantObjectTypeCode, its role, the code of its id).
STUDY_OBJECT, PATIENT_OBJECT = ("2", "3", "110180"), ("1", "1", "2")
REQUIRED: dict[str, tuple[set[str], set[str], set[tuple[str, str, str]]]] = {
    "110100": ({"110150"}, {"110120", "110121"}, set()),
    "110101": (set(), set(), {("2", "13", "12")}),
    "110103": (set(), set(), {STUDY_OBJECT, PATIENT_OBJECT}),
    "110104": ({"110153", "110152"}, set(), {STUDY_OBJECT, PATIENT_OBJECT}),
    "110105": (set(), set(), {STUDY_OBJECT, PATIENT_OBJECT}),
    "110112": ({"110153", "110152"}, set(), set()),
    "110113": (
        set(), {"110126", "110129", "110131", "110132", "110135", "110137"}, set(),
    ),
    "110114": (set(), {"110122", "110123"}, set()),
}  # fmt: skip


def code_of(element: ET.Element, path: str) -> str:
    found = element.find(path)
    return "" if found is None else found.attrib["csd-code"]


def missing(message: ET.Element) -> set[str]:
    """What PS3.15 A.5.3 requires of the message's event and the message has not."""
    roles, types, objects = REQUIRED[code_of(message, "EventIdentification/EventID")]
    has_roles = [code_of(who, "RoleIDCode") for who in message.findall("ActiveParticipant")]
    has_objects = [
        (
            about.attrib["ParticipantObjectTypeCode"],
            about.attrib["ParticipantObjectTypeCodeRole"],
            code_of(about, "ParticipantObjectIDTypeCode"),
        )
        for about in message.findall("ParticipantObjectIdentification")
    ]
    found = {f"one participant as {role}" for role in roles if has_roles.count(role) != 1}
    if types and code_of(message, "EventIdentification/EventTypeCode") not in types:
        found.add("its type")
    if has_objects.count(PATIENT_OBJECT) > 1:
        found.add("a single patient")
    names = {STUDY_OBJECT: "the study", PATIENT_OBJECT: "the patient"}
    return found | {names.get(kind, "the audit log") for kind in objects - set(has_objects)}


# What the standard has no word for, and what an export cannot know.
NOT_KNOWN = {
    "foreign": {"its type"},
    "held": {"its type"},
    "read a study that is gone": {"the patient"},
}


@pytest.mark.parametrize("name", list(ROWS))
def test_a_dicom_message_has_what_its_event_requires(name: str) -> None:
    record, event, _action = ROWS[name]
    of_a_study = event in ("110103", "110104", "110105")
    if of_a_study and name not in NOT_KNOWN:
        record = KNOWN | record
    assert missing(dicom(record)) == NOT_KNOWN.get(name, set())


@pytest.mark.parametrize(
    "name", [name for name, (_, event, _) in ROWS.items() if event == "110113"]
)
def test_a_security_alert_is_executed_and_names_its_reporter(name: str) -> None:
    message = dicom(ROWS[name][0])
    assert len(message.findall("ActiveParticipant")) == 1
    (about,) = message.findall("ParticipantObjectIdentification")
    assert about.attrib["ParticipantObjectTypeCode"] == "2"


@pytest.mark.parametrize(
    "name", [name for name, (_, event, _) in ROWS.items() if event == "110112"]
)
def test_a_query_has_its_question_and_is_about_a_report(name: str) -> None:
    (about,) = dicom(ROWS[name][0]).findall("ParticipantObjectIdentification")
    assert about.attrib["ParticipantObjectTypeCodeRole"] == "3"
    assert about.findtext("ParticipantObjectQuery")


@pytest.mark.parametrize(
    ("record", "source", "destination", "requestor"),
    [
        (MOVE, "argonath", "WS1", "nurse@north.example"),
        (row(action="store-study", actor="CT1"), "CT1", "argonath", "CT1"),
        (ROWS["deliver"][0] | {"actor": "routing"}, "routing", "Vault 2", "routing"),
        (row(action="deliver-study", actor="me", detail="?"), "me", "unknown", "me"),
    ],
    ids=["c-move", "store", "deliver", "a detail that says nothing"],
)  # fmt: skip
def test_a_transfer_names_who_sent_and_who_received(
    record: dict[str, Any], source: str, destination: str, requestor: str
) -> None:
    found = dicom(record).findall("ActiveParticipant")
    roles = {code_of(who, "RoleIDCode"): who.attrib["UserID"] for who in found}
    assert roles["110153"] == source
    assert roles["110152"] == destination
    assert [who.attrib["UserID"] for who in found if who.attrib["UserIsRequestor"] == "true"] == [
        requestor
    ]


def test_a_dicom_message_names_the_patient_and_what_the_study_holds() -> None:
    message = dicom(row(**KNOWN))
    study, patient = message.findall("ParticipantObjectIdentification")
    assert patient.attrib["ParticipantObjectID"] == "P1"
    assert patient.findtext("ParticipantObjectName") == "Doe^Jane"
    description = study.find("ParticipantObjectDescription")
    assert description is not None
    assert [(child.tag, child.attrib) for child in description] == [
        ("Accession", {"Number": "A7"}),
        ("SOPClass", {"NumberOfInstances": "12"}),
    ]


def test_every_code_is_of_the_dictionary() -> None:
    """PS3.16 annex D, as pydicom has it, which knows a code by its meaning's words."""
    found = [
        value
        for module in (events, participants)
        for value in vars(module).values()
        if isinstance(value, Code)
    ]
    assert len(found) > 15
    for code in found:
        keyword = "".join(word[0].upper() + word[1:] for word in code.meaning.split())
        assert getattr(codes.DCM, keyword).value == code.value, code


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
