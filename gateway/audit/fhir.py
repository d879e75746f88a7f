"""A record as FHIR's AuditEvent (R4, 4.0.1); pure."""

from __future__ import annotations

import base64
from typing import Any

from gateway.audit.events import Code, Row, event_of, is_address, outcome_of, recorded, uid_of

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
        "agent": [_agent(row)],
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
        "entity": [_entity(row)],
    }
    if event.type:
        resource["subtype"] = [_coding(event.type)]
    if row["verdict"] != "allowed":
        resource["outcomeDesc"] = row["detail"] or row["verdict"]
    if row["tenant_id"]:
        resource["source"]["site"] = row["tenant_id"]
    return resource


def _agent(row: Row) -> dict[str, Any]:
    agent: dict[str, Any] = {
        "who": {"identifier": {"value": row["actor"]}, "display": row["actor"]},
        "requestor": True,
    }
    if row["origin"]:
        kind = "2" if is_address(row["origin"]) else "1"
        agent["network"] = {"address": row["origin"], "type": kind}
    return agent


def _entity(row: Row) -> dict[str, Any]:
    _level, uid = uid_of(row)
    searched = row["resource"] == "search" and row["detail"]
    role, meaning = (
        ("3", "Report") if uid else ("24", "Query") if searched else ("13", "Security Resource")
    )
    entity: dict[str, Any] = {
        "type": {
            "system": f"{_TERMINOLOGY}/audit-entity-type",
            "code": "2",
            "display": "System Object",
        },
        "role": {"system": f"{_TERMINOLOGY}/object-role", "code": role, "display": meaning},
        "detail": [
            {"type": name, "valueString": row[name]}
            for name in ("action", "detail", "correlation")
            if row[name]
        ],
    }
    if uid:
        entity["what"] = {"identifier": {"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"}}
    # Either a name or a query, never both (constraint sev-1).
    if searched:
        entity["query"] = base64.b64encode(row["detail"].encode()).decode()
    else:
        entity["name"] = row["resource"]
    return entity


def _coding(code: Code) -> dict[str, str]:
    return {"system": _DCM, "code": code.value, "display": code.meaning}
