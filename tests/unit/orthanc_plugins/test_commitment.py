"""What of a request for storage commitment is answered, and how."""

from __future__ import annotations

from typing import Any, cast

import pytest

from gateway.access import Action
from gateway.dicom_tls.associations import Association
from gateway.errors import GatewayError, InvalidInput
from gateway.identity import Principal, Role
from orthanc_plugins.commitment import (
    AT_MOST,
    Commitment,
    Found,
    Reason,
    Reference,
    own_of,
    reason,
    references_of,
    summary,
)

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
ASKED = Reference(CT, "1.2.3")
OWN, FOREIGN = Found("a", "1.1", "1.2.3", CT), Found("b", "9.9", "1.2.3", CT)


def verdict(*found: Found, asked: Reference = ASKED, damaged: bool = False) -> Reason:
    return reason(asked, own_of(found, lambda it: it.study == "1.1"), lambda _: not damaged)


def test_an_own_instance_that_is_intact_is_committed() -> None:
    assert verdict(OWN) is Reason.COMMITTED


def test_another_tenants_instance_is_answered_as_an_absent_one() -> None:
    assert verdict(FOREIGN) is verdict() is Reason.NO_SUCH_INSTANCE
    assert verdict(FOREIGN, asked=Reference(MR, "1.2.3")) is Reason.NO_SUCH_INSTANCE
    assert verdict(FOREIGN, damaged=True) is Reason.NO_SUCH_INSTANCE


def test_of_two_tenants_who_have_the_same_uid_each_is_told_of_its_own() -> None:
    assert verdict(FOREIGN, OWN) is verdict(OWN, FOREIGN) is Reason.COMMITTED


def test_what_is_named_a_thousand_times_is_looked_at_once() -> None:
    orthanc = Jobs()
    commitment = Commitment(
        cast("Any", orthanc), cast("Any", None), cast("Any", None), lambda _: None
    )
    named = [Reference(f"1.2.{n}", f"1.2.{n % 2}") for n in range(1000)]
    commitment._reasons(named, Principal("CT1", Role.MEMBER, "north"))
    assert orthanc.posted == ["/tools/find"]


def test_an_instance_of_another_class_is_not_the_one_that_was_asked_for() -> None:
    assert verdict(OWN, asked=Reference(MR, "1.2.3")) is Reason.CLASS_CONFLICT


def test_what_cannot_be_read_back_is_not_committed() -> None:
    assert verdict(OWN, damaged=True) is Reason.PROCESSING_FAILURE


@pytest.mark.parametrize("uid", ["*", "1.2.?", "1.2.3\\1.2.4", ""])
def test_a_pattern_or_a_list_is_not_searched_for(uid: str) -> None:
    assert not Reference(CT, uid).is_searchable


def test_padding_is_no_part_of_a_uid() -> None:
    assert references_of([f"{CT}\0"], ["1.2.3 "]) == [ASKED]


@pytest.mark.parametrize("count", [0, AT_MOST + 1])
def test_a_request_for_nothing_or_for_too_much_is_an_error(count: int) -> None:
    with pytest.raises(InvalidInput):
        references_of([CT] * count, ["1.2.3"] * count)


def test_a_reference_that_is_too_long_to_be_a_uid_is_an_error() -> None:
    with pytest.raises(InvalidInput):
        references_of([CT], ["1." * 33])


def test_the_audit_counts_each_verdict() -> None:
    reasons = [Reason.COMMITTED, Reason.NO_SUCH_INSTANCE, Reason.COMMITTED]
    assert summary(reasons) == "3 instances: 2 committed, 1 no such instance"


class Refusing:
    """Admits everybody; keeps what was refused."""

    def __init__(self) -> None:
        self.errors: list[GatewayError] = []

    def admitted(self, called: str, calling: str, _action: Action) -> tuple[Association, str]:
        return Association(called, calling), "north"

    def refused(self, _who: Association, _action: Action, error: GatewayError) -> None:
        self.errors.append(error)


class Jobs:
    """Orthanc, which has no instance; keeps what is posted."""

    def __init__(self) -> None:
        self.posted: list[str] = []

    def RestApiPost(self, uri: str, _body: str) -> bytes:
        self.posted.append(uri)
        return b"[]"


def test_where_it_is_blocked_nothing_is_looked_up_and_orthancs_own_job_ends() -> None:
    orthanc, callers = Jobs(), Refusing()
    blocked = Commitment(
        cast("Any", orthanc),
        cast("Any", None),
        cast("Any", callers),
        lambda _: None,
        is_blocked=True,
    )
    blocked.asked("job-1", "1.2.3", [CT], ["1.2.3"], "CT1", "NORTH")
    assert [error.code for error in callers.errors] == ["NotAllowed"]
    assert orthanc.posted == ["/jobs/job-1/cancel"]
