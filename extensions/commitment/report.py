"""The report of a storage commitment as DICOM; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pydicom.dataset import Dataset

ALL_COMMITTED, SOME_FAILED = 1, 2
"""Event Type IDs (PS3.4 section J.3.3.1.1)."""


class Answered(NamedTuple):
    """An instance and its Failure Reason (PS3.3 section C.14.1.1); 0: committed."""

    sop_class: str
    instance: str
    reason: int


def event_type(answers: Iterable[Answered]) -> int:
    """Whether everything is committed, as an Event Type ID."""
    return SOME_FAILED if any(it.reason for it in answers) else ALL_COMMITTED


def event_information(transaction: str, answers: Sequence[Answered]) -> Dataset:
    """The Event Information (PS3.4 table J.3-2)."""
    report = Dataset()
    report.TransactionUID = transaction
    if committed := [_item(it) for it in answers if not it.reason]:
        report.ReferencedSOPSequence = committed
    if failed := [_item(it) for it in answers if it.reason]:
        report.FailedSOPSequence = failed
    return report


def _item(answer: Answered) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = answer.sop_class
    item.ReferencedSOPInstanceUID = answer.instance
    if answer.reason:
        item.FailureReason = answer.reason
    return item
