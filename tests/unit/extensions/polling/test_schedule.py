"""When a source is asked, and for which dates."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from extensions.polling.schedule import Window, next_run, study_dates

BERLIN = ZoneInfo("Europe/Berlin")


def at(hour: int, minute: int = 0, *, day: int = 10, month: int = 1) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


def window(text: str, zone: str = "UTC") -> Window:
    found = Window.parse(text, ZoneInfo(zone))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "hour", "is_open"),
    [
        ("08:00-17:00", 8, True),
        ("08:00-17:00", 17, False),
        ("08:00-17:00", 3, False),
        ("22:00-06:00", 23, True),
        ("22:00-06:00", 5, True),
        ("22:00-06:00", 6, False),
        ("22:00-06:00", 12, False),
    ],
)
def test_a_window_is_open_from_its_start_until_its_end(text: str, hour: int, is_open: bool) -> None:
    assert window(text).is_open(at(hour)) is is_open


def test_a_window_is_in_the_time_of_its_place() -> None:
    summer, winter = at(20, 30, month=7), at(20, 30, month=1)  # 22:30 and 21:30 in Berlin
    night = window("22:00-06:00", "Europe/Berlin")
    assert night.is_open(summer)
    assert not night.is_open(winter)


@pytest.mark.parametrize("text", ["22-06", "25:00-06:00", "08:00-08:00", "night", "08:00-17:60"])
def test_a_wrong_window_says_how_it_is_written(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        Window.parse(text, BERLIN)


def test_no_window_is_all_day() -> None:
    assert Window.parse(" ", BERLIN) is None
    assert next_run(None, at(3), 60) == at(3, 1)


def test_a_pause_that_ends_outside_the_window_lasts_until_it_opens() -> None:
    night = window("22:00-06:00")
    assert next_run(night, at(5), 600) == at(5, 10)
    assert next_run(night, at(5, 55), 600) == at(22)


def test_a_window_that_has_closed_opens_the_next_day() -> None:
    assert next_run(window("08:00-17:00"), at(18), 60) == at(8, day=11)


def test_dates_reach_back_and_have_no_end() -> None:
    assert study_dates(date(2026, 3, 2), 3) == "20260227-"
    assert study_dates(date(2026, 3, 2), 0) == ""
