from __future__ import annotations

import httpx
import pytest

from extensions.routing.sending.sender import outcome_of
from extensions.routing.sending.sender_dicomweb import read_answer


@pytest.mark.parametrize(
    ("status", "delivered", "permanent"),
    [
        (0x0000, True, False),
        (0xB000, True, False),
        (0xB007, True, False),
        (0x0111, True, False),
        (0xA700, False, False),
        (0xA7FF, False, False),
        (0xA900, False, True),
        (0xC123, False, True),
        (0x0110, False, True),
        (0x0122, False, True),
        (0xFE00, False, True),
    ],
)
def test_a_storage_status_means(status: int, delivered: bool, permanent: bool) -> None:
    outcome = outcome_of("1.2", status)
    assert (outcome.delivered, outcome.permanent) == (delivered, permanent)
    assert outcome.remote_status == f"0x{status:04X}"
    assert delivered or outcome.cause


def failed(uid: str, reason: int) -> dict[str, object]:
    item = {"00081155": {"vr": "UI", "Value": [uid]}, "00081197": {"vr": "US", "Value": [reason]}}
    return {"00081198": {"vr": "SQ", "Value": [item]}}


@pytest.mark.parametrize(
    ("answer", "delivered", "permanent"),
    [
        (httpx.Response(200, json={}), True, False),
        (httpx.Response(200, text="<xml/>"), True, False),
        (httpx.Response(202, json={"00081199": {"vr": "SQ"}}), True, False),
        (httpx.Response(202, text="<xml/>"), False, True),
        (httpx.Response(202, json=failed("1.2", 0xA700)), False, False),
        (httpx.Response(200, json=failed("1.2", 0x0124)), False, True),
        (httpx.Response(409, json=failed("1.2", 0x0111)), True, False),
        (httpx.Response(409, json=[failed("1.2", 0xC000)]), False, True),
        (
            httpx.Response(200, json=failed("1.9", 0xC000)),
            False,
            True,
        ),  # a copy may have another UID
        (httpx.Response(200, json={"00081198": {"Value": ["odd"]}}), False, True),
        (httpx.Response(400), False, True),
        (httpx.Response(500), False, False),
        (httpx.Response(507), False, False),
    ],
)
def test_a_stow_answer_means(answer: httpx.Response, delivered: bool, permanent: bool) -> None:
    outcome = read_answer("1.2", answer)
    assert (outcome.delivered, outcome.permanent) == (delivered, permanent)
