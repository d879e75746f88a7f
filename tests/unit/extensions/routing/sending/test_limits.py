from __future__ import annotations

from datetime import datetime

import pytest

from extensions.routing.sending.limits import Limits, Throttle, opens_in_s, parse_limits, wait_s
from gateway.errors import InvalidInput


def at(clock: str) -> datetime:
    return datetime.fromisoformat(f"2026-01-31T{clock}+01:00")


@pytest.mark.parametrize(
    ("hours", "clock", "opens_s"),
    [
        ("", "12:00:00", 0),
        ("08:00-17:00", "08:00:00", 0),
        ("08:00-17:00", "16:59:59", 0),
        ("08:00-17:00", "17:00:00", 15 * 3600),
        ("08:00-17:00", "07:59:30", 30),
        ("20:00-06:00", "23:00:00", 0),
        ("20:00-06:00", "05:59:59", 0),
        ("20:00-06:00", "06:00:00", 14 * 3600),
    ],
)
def test_hours_open(hours: str, clock: str, opens_s: float) -> None:
    assert opens_in_s(hours, at(clock)) == opens_s


def test_only_what_is_off_peak_waits_for_the_off_peak_hours() -> None:
    limits = Limits(window="", off_peak="20:00-06:00")
    waits = [wait_s(limits, priority, at("19:00:00")) for priority in ("urgent", "off-peak")]
    assert waits == [0, 3600]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"window": "8-17"}, "window: must be like 20:00-06:00"),
        ({"window": "24:00-06:00"}, "window: must be like"),
        ({"off_peak": "08:00-08:00"}, "off_peak: must be like"),
        ({"concurrency": "5"}, "concurrency: "),
        ({"bandwidth": "-1"}, "bandwidth: "),
    ],
)
def test_a_wrong_limit_is_named(given: dict[str, str], told: str) -> None:
    with pytest.raises(InvalidInput) as error:
        parse_limits(given)
    assert told in str(error.value)


def test_lines_share_the_bandwidth() -> None:
    throttle = Throttle(Limits(concurrency=2, bandwidth=1000), began=100.0)
    assert throttle.pause_s(500_000, now=100.2) == pytest.approx(0.8)
    assert throttle.pause_s(500_000, now=103.0) == 0, "it was slow by itself"
