"""How results are printed, and held against what is wanted of them."""

from __future__ import annotations

import operator
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

_MISSED: ContextVar[list[str]] = ContextVar("missed")
_RELATIONS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">=": operator.ge,
}


@contextmanager
def judged() -> Iterator[list[str]]:
    """Where rows are printed; the list gets those that miss what is wanted."""
    missed: list[str] = []
    token = _MISSED.set(missed)
    try:
        yield missed
    finally:
        _MISSED.reset(token)


def judge(title: str, value: float, wanted: str) -> None:
    """Note a row whose value is not as `wanted`: ``>= 0.9``, ``p95 < 50``; empty: anything is."""
    if wanted:
        *_, relation, bound = wanted.split()
        if not _RELATIONS[relation](value, float(bound)):
            _MISSED.get().append(f"{title.strip()}: {value:.3g}, wanted {wanted}")


def head(*columns: str) -> None:
    """The names of the two columns of figures and of their ratio."""
    one, two, ratio = columns
    print(f"{'':<52}{one:>16}{two:>16}{ratio:>8}  wanted", flush=True)


def rates(title: str, ours: Sequence[float], peer: Sequence[float], wanted: str) -> None:
    """Medians of two rates, and the first divided by the second, which is what is wanted."""
    mine, theirs = statistics.median(ours), statistics.median(peer)
    print(f"{title:<52}{mine:>16.1f}{theirs:>16.1f}{mine / theirs:>8.2f}  {wanted}", flush=True)
    judge(title, mine / theirs, wanted)


def milliseconds(title: str, small: float, large: float, wanted: str) -> None:
    """Two times in seconds, and how many times the second is the first, which is what is wanted."""
    print(
        f"{title:<52}{small * 1e3:>16.2f}{large * 1e3:>16.2f}{large / small:>8.2f}  {wanted}",
        flush=True,
    )
    judge(title, large / small, wanted)


def percentiles(title: str, figures: Sequence[float], wanted: str) -> None:
    """The median and the 95th percentile, which is what is wanted."""
    median, high = statistics.median(figures), statistics.quantiles(figures, n=20)[-1]
    print(f"{title:<52}{median:>16.1f}{high:>16.1f}{'':>8}  {wanted}", flush=True)
    judge(title, high, wanted)
