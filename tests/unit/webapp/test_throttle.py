"""Guessing of passwords becomes slow."""

from __future__ import annotations

from webapp.throttle import LONGEST_WAIT_S, seconds_to_wait


def test_a_few_failures_cost_nothing() -> None:
    assert [seconds_to_wait(n, 0) for n in range(5)] == [0] * 5


def test_then_each_failure_doubles_the_wait() -> None:
    assert [seconds_to_wait(n, 0) for n in (5, 6, 7)] == [15, 30, 60]


def test_the_wait_passes() -> None:
    assert seconds_to_wait(6, 20) == 10
    assert seconds_to_wait(6, 31) == 0


def test_the_wait_has_a_limit() -> None:
    assert seconds_to_wait(5000, 0) == LONGEST_WAIT_S
