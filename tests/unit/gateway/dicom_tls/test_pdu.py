"""The first bytes of an association, as pynetdicom writes and reads them (PS3.8 section 9.3)."""

from __future__ import annotations

import pytest
from pynetdicom import build_context
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, MaximumLengthNotification

from gateway.dicom_tls import pdu


def associate(result: int | None = None) -> A_ASSOCIATE:
    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.calling_ae_title = "CT1"
    primitive.called_ae_title = "NORTH"
    context = build_context("1.2.840.10008.1.1")
    context.context_id = 1
    context.result = 0
    primitive.presentation_context_definition_list = [context]
    primitive.presentation_context_definition_results_list = [context]
    length = MaximumLengthNotification()
    length.maximum_length_received = 16382
    primitive.user_information = [length]
    primitive.result = result
    return primitive


REQUEST = A_ASSOCIATE_RQ(associate()).encode()


def test_a_request_tells_who_calls_whom() -> None:
    asked = pdu.Request.from_head(REQUEST[: pdu.HEAD_BYTES])
    assert (asked.called, asked.calling) == ("NORTH", "CT1")


def test_a_request_is_passed_on_with_another_called_ae_title_and_nothing_else_changed() -> None:
    changed = pdu.readdressed(REQUEST[: pdu.HEAD_BYTES], "TLS~0123456789ab")
    read = A_ASSOCIATE_RQ()
    read.decode(changed + REQUEST[pdu.HEAD_BYTES :])
    assert read.called_ae_title == "TLS~0123456789ab"
    assert pdu.readdressed(changed, "NORTH") + REQUEST[pdu.HEAD_BYTES :] == REQUEST


def test_an_acceptance_is_told_from_a_refusal() -> None:
    assert pdu.is_acceptance(A_ASSOCIATE_AC(associate(0)).encode()[: pdu.HEAD_BYTES])
    assert not pdu.is_acceptance(pdu.CALLED_NOT_RECOGNIZED)


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (pdu.CALLING_NOT_RECOGNIZED, (1, 1, 3)),
        (pdu.CALLED_NOT_RECOGNIZED, (1, 1, 7)),
        (pdu.TRY_AGAIN, (2, 3, 1)),
    ],
)
def test_a_refusal_is_a_pdu_that_says_why(refusal: bytes, said: tuple[int, int, int]) -> None:
    read = A_ASSOCIATE_RJ()
    read.decode(refusal)
    assert (read.result, read.source, read.reason_diagnostic) == said
    assert len(read) == len(refusal)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        REQUEST[: pdu.HEAD_BYTES - 1],
        b"GET / HTTP/1.1\r\n".ljust(pdu.HEAD_BYTES),
        b"\x04" + REQUEST[1 : pdu.HEAD_BYTES],
        REQUEST[:2] + b"\x00\x00\x00\x10" + REQUEST[6 : pdu.HEAD_BYTES],
        REQUEST[:2] + b"\xff\xff\xff\xff" + REQUEST[6 : pdu.HEAD_BYTES],
        REQUEST[:10] + b"\xc4" + REQUEST[11 : pdu.HEAD_BYTES],
    ],
)
def test_what_is_no_request_is_refused(head: bytes) -> None:
    with pytest.raises(pdu.NotAnAssociation):
        pdu.Request.from_head(head)
