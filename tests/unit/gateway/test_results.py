from __future__ import annotations

from typing import Any, cast

import pytest

from gateway import results
from gateway.db import Session
from gateway.errors import InvalidInput

NOWHERE = cast("Session", None)  # what is wrong is refused before anything is asked


@pytest.mark.parametrize("name", ["", "Aorta", "aorta cm", "a" * 65, "aorta\n"])
def test_a_name_that_no_rule_can_say_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="name"):
        results.note(NOWHERE, "1.2", name, 1, extension="trial")


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"a": 1},
        b"text",
        float("nan"),
        float("inf"),
        10**400,
        "with \0",
        "half \ud800",
        "é" * 513,
        [1] * 65,
        [[1]],
        [None],
    ],
)
def test_a_value_that_rules_could_not_compare_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput, match="result 'aorta'"):
        results.note(NOWHERE, "1.2", "aorta", value, extension="trial")
