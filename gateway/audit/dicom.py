"""A record as DICOM's audit message (PS3.15 A.5.1, in its schema's order); pure.

The events of A.5.3 that name studies also ask for the patient: the audit has none, on purpose.
"""

from __future__ import annotations

import base64
import re
from xml.etree import ElementTree as ET

from gateway.audit.events import Code, Row, event_of, is_address, outcome_of, recorded, uid_of

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def message(row: Row) -> str:
    """One `AuditMessage` on one line."""
    root = ET.Element("AuditMessage")
    _event(root, row)
    who = {"UserID": row["actor"], "UserIsRequestor": "true"}
    if row["origin"]:
        who["NetworkAccessPointID"] = row["origin"]
        who["NetworkAccessPointTypeCode"] = "2" if is_address(row["origin"]) else "1"
    _add(root, "ActiveParticipant", who)
    source = {"AuditSourceID": "argonath"}
    if row["tenant_id"]:
        source = {"AuditEnterpriseSiteID": row["tenant_id"]} | source
    _add(_add(root, "AuditSourceIdentification", source), "AuditSourceTypeCode", {"csd-code": "4"})
    _object(root, row)
    return _NOT_XML.sub("?", ET.tostring(root, encoding="unicode").replace("\n", " "))


def _event(root: ET.Element, row: Row) -> None:
    event = event_of(row)
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


def _object(root: ET.Element, row: Row) -> None:
    level, uid = uid_of(row)
    searched = row["resource"] == "search" and row["detail"]
    found = _add(
        root,
        "ParticipantObjectIdentification",
        {
            "ParticipantObjectID": uid or row["resource"],
            "ParticipantObjectTypeCode": "2",
            # 3 report (of all DICOM objects), 24 query, 13 security resource
            "ParticipantObjectTypeCodeRole": "3" if uid else "24" if searched else "13",
        },
    )
    if level == "study":
        _code(found, "ParticipantObjectIDTypeCode", Code("110180", "Study Instance UID"))
    else:
        kind = {"csd-code": "12", "codeSystemName": "RFC-3881", "originalText": "URI"}
        _add(found, "ParticipantObjectIDTypeCode", kind)
    if searched:
        _add(found, "ParticipantObjectQuery").text = _base64(row["detail"])
    else:
        _add(found, "ParticipantObjectName").text = row["resource"]
    for name in ("action", "detail", "correlation"):
        if row[name]:
            pair = {"type": name, "value": _base64(row[name])}
            _add(found, "ParticipantObjectDetail", pair)


def _add(parent: ET.Element, tag: str, attributes: dict[str, str] | None = None) -> ET.Element:
    return ET.SubElement(parent, tag, attributes or {})


def _code(parent: ET.Element, tag: str, code: Code) -> None:
    _add(
        parent,
        tag,
        {
            "csd-code": code.value,
            "codeSystemName": "DCM",
            "displayName": code.meaning,
            "originalText": code.meaning,
        },
    )


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
