"""The report of a storage commitment (PS3.4 table J.3-2)."""

from __future__ import annotations

from extensions.commitment.report import (
    ALL_COMMITTED,
    SOME_FAILED,
    Answered,
    event_information,
    event_type,
)

CT = "1.2.840.10008.5.1.4.1.1.2"
SAFE, ABSENT = Answered(CT, "1.1", 0), Answered(CT, "1.2", 0x0112)


def test_each_instance_is_committed_or_failed_with_its_reason() -> None:
    report = event_information("1.2.3", [SAFE, ABSENT])
    assert report.TransactionUID == "1.2.3"
    (committed,), (failed,) = report.ReferencedSOPSequence, report.FailedSOPSequence
    assert (committed.ReferencedSOPInstanceUID, committed.get("FailureReason")) == ("1.1", None)
    assert (failed.ReferencedSOPInstanceUID, failed.FailureReason) == ("1.2", 0x0112)
    assert failed.ReferencedSOPClassUID == CT


def test_a_sequence_of_which_there_is_nothing_is_left_out() -> None:
    assert "FailedSOPSequence" not in event_information("1.2.3", [SAFE])
    assert "ReferencedSOPSequence" not in event_information("1.2.3", [ABSENT])


def test_one_failure_makes_it_another_event() -> None:
    assert event_type([SAFE]) == ALL_COMMITTED
    assert event_type([SAFE, ABSENT]) == SOME_FAILED
