"""A record as DICOM's audit message (PS3.15 A.5.1, in its schema's order, and A.5.3); pure.

The audit has no patient, on purpose: whoever exports it may join what the archive still knows of a
study (`search.stream`), and then the events of studies name the patient as A.5.3.6 to 8 ask.
"""

from __future__ import annotations

import base64
import re
from xml.etree import ElementTree as ET

from gateway.audit.events import (
    LOG_USED,
    OF_STUDIES,
    QUERY,
    Code,
    Event,
    Row,
    event_of,
    is_address,
    outcome_of,
    recorded,
    uid_of,
)
from gateway.audit.participants import Participant, participants

_TYPE = "ParticipantObjectIDTypeCode"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def message(row: Row) -> str:
    """One `AuditMessage` on one line."""
    event = event_of(row)
    root = ET.Element("AuditMessage")
    _event(root, row, event)
    for participant in participants(row, event):
        _participant(root, participant)
    source = {"AuditSourceID": "argonath"}
    if row["tenant_id"]:
        source = {"AuditEnterpriseSiteID": row["tenant_id"]} | source
    _add(_add(root, "AuditSourceIdentification", source), "AuditSourceTypeCode", {"csd-code": "4"})
    _object(root, row, event)
    if event.id in OF_STUDIES and row.get("patient_id"):
        _patient(root, row)
    return _NOT_XML.sub("?", ET.tostring(root, encoding="unicode").replace("\n", " "))


def _event(root: ET.Element, row: Row, event: Event) -> None:
    identification = _add(
        root,
        "EventIdentification",
        {
            "EventActionCode": event.action,
            "EventDateTime": recorded(row),
            "EventOutcomeIndicator": outcome_of(row),
        },
    )
    _code(identification, "EventID", event.id)
    if event.type:
        _code(identification, "EventTypeCode", event.type)
    if row["verdict"] != "allowed":
        _add(identification, "EventOutcomeDescription").text = row["detail"] or row["verdict"]


def _participant(root: ET.Element, who: Participant) -> None:
    told = {"UserID": who.name, "UserIsRequestor": "true" if who.is_requestor else "false"}
    if who.address:
        told["NetworkAccessPointID"] = who.address
        told["NetworkAccessPointTypeCode"] = "2" if is_address(who.address) else "1"
    found = _add(root, "ActiveParticipant", told)
    if who.role:
        _code(found, "RoleIDCode", who.role)


def _object(root: ET.Element, row: Row, event: Event) -> None:
    """What it was done to; by A.5.3.10 a query's object is a report."""
    level, uid = uid_of(row)
    is_query, is_audit = event.id == QUERY, event.id == LOG_USED
    found = _add(
        root,
        "ParticipantObjectIdentification",
        {
            "ParticipantObjectID": "/audit" if is_audit else uid or row["resource"],
            "ParticipantObjectTypeCode": "2",
            # 3 report (of all DICOM objects), 13 security resource
            "ParticipantObjectTypeCodeRole": "3" if uid or is_query else "13",
        },
    )
    if level == "study":
        _code(found, _TYPE, Code("110180", "Study Instance UID"))
    else:
        kind = ("10", "Search Criteria") if is_query else ("12", "URI")
        _code(found, _TYPE, Code(*kind), "RFC-3881")
    if is_query:  # either a name or a query
        query = row["detail"] or row["action"]
        _add(found, "ParticipantObjectQuery").text = _base64(query)
    else:
        name = "Security Audit Log" if is_audit else row["resource"]
        _add(found, "ParticipantObjectName").text = name
    for name in ("action", "resource", "detail", "correlation"):
        if row[name]:
            pair = {"type": name, "value": _base64(row[name])}
            _add(found, "ParticipantObjectDetail", pair)
    if event.id in OF_STUDIES and row.get("instance_count"):
        _describe(found, row)


def _describe(found: ET.Element, row: Row) -> None:
    """What the archive holds of the study; the database does not know its SOP classes' UIDs."""
    description = _add(found, "ParticipantObjectDescription")
    if row["accession_number"]:
        _add(description, "Accession", {"Number": row["accession_number"]})
    _add(description, "SOPClass", {"NumberOfInstances": str(row["instance_count"])})


def _patient(root: ET.Element, row: Row) -> None:
    person = {
        "ParticipantObjectID": row["patient_id"],
        "ParticipantObjectTypeCode": "1",
        "ParticipantObjectTypeCodeRole": "1",
    }
    found = _add(root, "ParticipantObjectIdentification", person)
    _code(found, _TYPE, Code("2", "Patient Number"), "RFC-3881")
    _add(found, "ParticipantObjectName").text = row["patient_name"]


def _add(parent: ET.Element, tag: str, attributes: dict[str, str] | None = None) -> ET.Element:
    return ET.SubElement(parent, tag, attributes or {})


def _code(parent: ET.Element, tag: str, code: Code, scheme: str = "DCM") -> None:
    _add(
        parent,
        tag,
        {
            "csd-code": code.value,
            "codeSystemName": scheme,
            "displayName": code.meaning,
            "originalText": code.meaning,
        },
    )


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
