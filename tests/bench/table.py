"""How results are printed."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def head(*columns: str) -> None:
    """The names of the two columns of figures and of their ratio."""
    one, two, ratio = columns
    print(f"{'':<52}{one:>16}{two:>16}{ratio:>8}  wanted", flush=True)


def rates(title: str, ours: Sequence[float], peer: Sequence[float], wanted: str) -> None:
    """Medians of two rates, and the first divided by the second."""
    mine, theirs = statistics.median(ours), statistics.median(peer)
    print(f"{title:<52}{mine:>16.1f}{theirs:>16.1f}{mine / theirs:>8.2f}  {wanted}", flush=True)


def milliseconds(title: str, small: float, large: float, wanted: str) -> None:
    """Two times in seconds, and how many times the second is the first."""
    print(
        f"{title:<52}{small * 1e3:>16.2f}{large * 1e3:>16.2f}{large / small:>8.2f}  {wanted}",
        flush=True,
    )


def percentiles(title: str, figures: Sequence[float], wanted: str) -> None:
    """The median and the 95th percentile."""
    median, high = statistics.median(figures), statistics.quantiles(figures, n=20)[-1]
    print(f"{title:<52}{median:>16.1f}{high:>16.1f}{'':>8}  {wanted}", flush=True)
