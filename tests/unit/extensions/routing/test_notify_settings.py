from __future__ import annotations

from typing import Any

import pytest

from extensions.routing.actions import ACTIONS
from gateway.actions import Actions, Step
from gateway.errors import InvalidInput


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({}, "needs email or webhook"),
        ({"email": ["a@b.example"], "webhook": "RIS"}, "needs email or webhook"),
        ({"email": ["a@b.example\r\nBcc: c@d.example"]}, "email"),
        ({"email": ["Anna <a@b.example>"]}, "email"),
        ({"email": ["a@b.example, c@d.example"]}, "email"),
        ({"webhook": "RIS", "secret": "x"}, "secret"),
    ],
)
def test_a_wrong_line_is_refused_and_its_place_named(given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        Actions(ACTIONS).parse(Step("notify", given))
