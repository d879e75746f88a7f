"""What is promised within seconds, measured on machines that may stand still for a moment."""

from __future__ import annotations

from collections.abc import Callable


def soonest(measure: Callable[[], float], within_s: float, times: int = 3) -> float:
    """The first measure below `within_s`, or the least of so many: one may have met a pause."""
    measured: list[float] = []
    while len(measured) < times and not (measured and measured[-1] < within_s):
        measured.append(measure())
    return min(measured)
