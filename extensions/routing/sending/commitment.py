"""Storage commitment, Push Model, as SCU (PS3.4 annex J): the request and its report; pure."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydicom import Dataset, config

_REASONS = {  # PS3.3 section C.14.1.1
    0x0110: "processing failure",
    0x0112: "no such object instance",
    0x0119: "class / instance conflict",
    0x0122: "SOP class not supported",
    0x0131: "duplicate transaction UID",
    0x0213: "resource limitation",
}


class Reference(NamedTuple):
    """An object as it was sent."""

    sop_class: str
    instance: str


@dataclass(frozen=True)
class Report:
    """What a destination says: what it keeps, and Failure Reasons of the rest by their UIDs."""

    committed: frozenset[str]
    failed: Mapping[str, int]

    def cause(self, instance: str) -> str:
        """Why an instance does not count as committed; empty: it does."""
        reason = self.failed.get(instance)
        if reason is not None:
            told = f"0x{reason:04X} {_REASONS.get(reason, '')}".strip()
            return f"It was acknowledged, but the destination does not commit to it: {told}."
        if instance in self.committed:
            return ""
        return "It was acknowledged, but the destination's report does not name it."


def new_transaction() -> str:
    """A Transaction UID that nobody can guess (PS3.5 section B.2)."""
    return f"2.25.{uuid.uuid4().int}"


def request(transaction: str, references: Sequence[Reference]) -> Dataset:
    """The Action Information of an N-ACTION (PS3.4 table J.3-1)."""
    asked = Dataset()
    asked.TransactionUID = transaction
    with config.disable_value_validation():  # it took them as they are
        asked.ReferencedSOPSequence = [_item(each) for each in references]
    return asked


def _item(reference: Reference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = reference.sop_class
    item.ReferencedSOPInstanceUID = reference.instance
    return item


def report_of(information: Dataset) -> Report:
    """The Event Information of an N-EVENT-REPORT (PS3.4 table J.3-2)."""
    failed = information.get("FailedSOPSequence") or ()
    return Report(
        frozenset(_uid(item) for item in information.get("ReferencedSOPSequence") or ()),
        {_uid(item): int(item.get("FailureReason") or 0) for item in failed},
    )


def report_of_archive(answer: Mapping[str, Any]) -> Report:
    """The same as Orthanc tells it, which has received it for us."""
    return Report(
        frozenset(str(item["SOPInstanceUID"]) for item in answer["Success"]),
        {str(item["SOPInstanceUID"]): int(item["FailureReason"]) for item in answer["Failures"]},
    )


def _uid(item: Dataset) -> str:
    return str(item.get("ReferencedSOPInstanceUID") or "")
