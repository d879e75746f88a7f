"""Moved dates keep their precision and their distance from each other."""

from __future__ import annotations

import pytest

from extensions.anonymize.dates import shifted, spellings


@pytest.mark.parametrize(
    ("value", "days", "moved"),
    [
        ("20260304", 1, "20260305"),
        ("20240228", 2, "20240301"),
        ("20260101", -1, "20251231"),
        ("2026.03.04", 1, "20260305"),
        ("20260304101112.123456+0100", -4, "20260228101112.123456+0100"),
        ("2026030410", 1, "2026030510"),
        ("202603", 40, "202604"),
        ("2026", 400, "2027"),
    ],
)
def test_a_date_moves_by_days_and_keeps_the_rest(value: str, days: int, moved: str) -> None:
    assert shifted(value, days) == moved


@pytest.mark.parametrize("value", ["20261304", "Doe^Jane", "20260304 Doe", "00010101", "", "26"])
def test_what_is_not_a_date_or_leaves_the_calendar_is_emptied(value: str) -> None:
    assert shifted(value, -400) == ""


def test_a_full_date_is_known_as_people_write_it() -> None:
    assert {"20260304", "2026-03-04", "04.03.2026", "03/04/2026"} <= set(spellings("20260304"))
    assert spellings("202603") == []
