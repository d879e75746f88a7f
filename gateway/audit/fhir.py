"""A record as FHIR's AuditEvent (R4, 4.0.1, by its mapping to DICOM's message); pure."""

from __future__ import annotations

import base64
from typing import Any

from gateway.audit.events import (
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

_DCM = "http://dicom.nema.org/resources/ontology/DCM"
_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"


def audit_event(row: Row) -> dict[str, Any]:
    """The resource as JSON's objects and lists."""
    event = event_of(row)
    resource: dict[str, Any] = {
        "resourceType": "AuditEvent",
        "id": str(row["audit_id"]),
        "type": _coding(event.id),
        "action": event.action,
        "recorded": recorded(row),
        "outcome": outcome_of(row),
        "agent": [_agent(participant) for participant in participants(row, event)],
        "source": {
            "observer": {"display": "Argonath"},
            "type": [
                {
                    "system": f"{_TERMINOLOGY}/security-source-type",
                    "code": "4",
                    "display": "Application Server",
                }
            ],
        },
        "entity": [_entity(row, event)],
    }
    if event.id in OF_STUDIES and row.get("patient_id"):
        resource["entity"].append(_patient(row))
    if event.type:
        resource["subtype"] = [_coding(event.type)]
    if row["verdict"] != "allowed":
        resource["outcomeDesc"] = row["detail"] or row["verdict"]
    if row["tenant_id"]:
        resource["source"]["site"] = row["tenant_id"]
    return resource


def _agent(who: Participant) -> dict[str, Any]:
    agent: dict[str, Any] = {
        "who": {"identifier": {"value": who.name}, "display": who.name},
        "requestor": who.is_requestor,
    }
    if who.role:
        agent["type"] = {"coding": [_coding(who.role)]}
    if who.address:
        kind = "2" if is_address(who.address) else "1"
        agent["network"] = {"address": who.address, "type": kind}
    return agent


def _entity(row: Row, event: Event) -> dict[str, Any]:
    _level, uid = uid_of(row)
    is_query = event.id == QUERY
    role = ("3", "Report") if uid or is_query else ("13", "Security Resource")
    entity = _kind(("2", "System Object"), role)
    entity["detail"] = [
        {"type": name, "valueString": row[name]}
        for name in ("action", "resource", "detail", "correlation")
        if row[name]
    ]
    if uid:
        entity["what"] = {"identifier": {"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"}}
    # Either a name or a query, never both (constraint sev-1).
    if is_query:
        query = row["detail"] or row["action"]
        entity["query"] = base64.b64encode(query.encode()).decode()
    else:
        entity["name"] = row["resource"]
    return entity


def _patient(row: Row) -> dict[str, Any]:
    entity = _kind(("1", "Person"), ("1", "Patient"))
    entity["what"] = {"identifier": {"value": row["patient_id"]}}
    if row["patient_name"]:
        entity["name"] = row["patient_name"]
    return entity


def _kind(kind: tuple[str, str], role: tuple[str, str]) -> dict[str, Any]:
    scheme = ("audit-entity-type", "object-role")
    return {
        element: {"system": f"{_TERMINOLOGY}/{name}", "code": code, "display": meaning}
        for element, name, (code, meaning) in zip(
            ("type", "role"), scheme, (kind, role), strict=True
        )
    }


def _coding(code: Code) -> dict[str, str]:
    return {"system": _DCM, "code": code.value, "display": code.meaning}
