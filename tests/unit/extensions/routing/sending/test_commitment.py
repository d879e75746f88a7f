from __future__ import annotations

import re

import pytest
from pydicom import Dataset
from pydicom.dataelem import DataElement
from pydicom.uid import CTImageStorage
from pynetdicom.dsutils import encode

from extensions.routing.sending import commitment
from extensions.routing.sending.commitment import Reference, Report


def items(*uids: str, reason: int | None = None) -> list[Dataset]:
    found = []
    for uid in uids:
        item = Dataset()
        item.ReferencedSOPInstanceUID = uid
        if reason is not None:
            item.FailureReason = reason
        found.append(item)
    return found


def test_a_request_names_each_object_by_its_class_and_uid() -> None:
    asked = commitment.request("2.25.1", [Reference(CTImageStorage, "1.2.1"), Reference("1", "2")])
    assert asked.TransactionUID == "2.25.1"
    assert [
        (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID)
        for item in asked.ReferencedSOPSequence
    ] == [(CTImageStorage, "1.2.1"), ("1", "2")]


def test_a_request_can_name_an_object_whose_uid_is_none() -> None:
    asked = commitment.request("2.25.1", [Reference(CTImageStorage, "1.02.a")])
    assert b"1.02.a" in (encode(asked, True, True) or b"")


def test_transactions_cannot_be_guessed_from_one_another() -> None:
    made = {commitment.new_transaction() for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(r"2\.25\.[1-9]\d{30,38}", uid) for uid in made)


def test_what_is_reported_as_committed_has_no_cause() -> None:
    told = Dataset()
    told.ReferencedSOPSequence = items("1.2.1")
    assert commitment.report_of(told).cause("1.2.1") == ""


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (0x0112, "does not commit to it: 0x0112 no such object instance."),
        (0x0213, "does not commit to it: 0x0213 resource limitation."),
        (0xABCD, "does not commit to it: 0xABCD."),
        (0, "does not commit to it: 0x0000."),
    ],
)
def test_what_failed_is_told_by_its_reason(reason: int, told: str) -> None:
    report = Dataset()
    report.ReferencedSOPSequence = items("1.2.1", "1.2.2")  # who is in both has failed
    report.FailedSOPSequence = items("1.2.2", reason=reason)
    assert commitment.report_of(report).cause("1.2.2").endswith(told)
    assert commitment.report_of(report).cause("1.2.1") == ""


def test_a_failure_without_its_reason_is_one_all_the_same() -> None:
    report = Dataset()
    report.FailedSOPSequence = items("1.2.1")
    report.FailedSOPSequence[0].add(DataElement(0x00081197, "US", None))
    assert commitment.report_of(report).cause("1.2.1")


def test_what_a_report_does_not_name_is_not_committed() -> None:
    report = commitment.report_of(Dataset())
    assert report == Report(frozenset(), {})
    assert report.cause("1.2.1").endswith("report does not name it.")


def test_the_archives_words_mean_the_same() -> None:
    archive = {
        "Status": "Failure",
        "RemoteAET": "PACS",
        "Success": [{"SOPClassUID": CTImageStorage, "SOPInstanceUID": "1.2.1"}],
        "Failures": [{"SOPClassUID": "1", "SOPInstanceUID": "1.2.2", "FailureReason": 274}],
    }
    report = Dataset()
    report.ReferencedSOPSequence = items("1.2.1")
    report.FailedSOPSequence = items("1.2.2", reason=0x0112)
    assert commitment.report_of_archive(archive) == commitment.report_of(report)
