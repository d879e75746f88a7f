"""The trail for other systems: one record a line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping

from gateway.audit import dicom, fhir
from gateway.audit.events import Row, recorded

_FIELDS = ("tenant_id", "actor", "action", "resource", "verdict", "origin", "detail", "correlation")


def json_line(row: Row) -> str:
    """The record as it is, with its hash in hexadecimal."""
    fields = {name: row[name] for name in _FIELDS}
    return json.dumps(
        {"audit_id": row["audit_id"], "at": recorded(row)}
        | fields
        | {"hash": bytes(row["hash"]).hex()}
    )


FORMATS: Mapping[str, Callable[[Row], str]] = {
    "jsonl": json_line,
    "fhir": lambda row: json.dumps(fhir.audit_event(row)),
    "dicom": dicom.message,
}
# The standards of these want the patient beside a study.
WITH_PATIENTS = frozenset({"fhir", "dicom"})
NAMES_PATIENTS = "with the patients of studies that are still here"  # for the audit of an export


def lines(rows: Iterable[Row], form: str) -> Iterator[str]:
    """Each record as a line in `form`, one of `FORMATS`."""
    line = FORMATS[form]
    return (f"{line(row)}\n" for row in rows)
