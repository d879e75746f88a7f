"""A bench that misses what is wanted of it fails, after everything is printed."""

from __future__ import annotations

import sys

import pytest

from tests.bench import __main__ as bench
from tests.bench import routing, table


@pytest.mark.parametrize(
    ("wanted", "misses"),
    [("", False), (">= 0.8", False), (">= 0.9", True), ("<= 0.8", False), ("p95 < 0.8", True)],
)
def test_a_row_misses_what_is_wanted_or_does_not(wanted: str, misses: bool) -> None:
    with table.judged() as missed:
        table.rates("forwarding", [8.0, 7.9, 800.0], [10.0], wanted)
    assert missed == ([f"forwarding: 0.8, wanted {wanted}"] if misses else [])


def test_percentiles_and_times_are_judged_by_the_high_one_and_by_their_ratio() -> None:
    with table.judged() as missed:
        table.percentiles("rules", [*range(1, 20), 60.0], "p95 < 50")
        table.milliseconds("reading", 0.010, 0.013, "<= 1.2")
    assert [line.split(":")[0] for line in missed] == ["rules", "reading"]


def test_the_command_fails_after_everything_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*_: object) -> None:
        table.rates("slow", [1.0], [2.0], ">= 0.8")
        table.rates("quick", [2.0], [2.0], ">= 0.8")

    monkeypatch.setattr(routing, "run", run)
    monkeypatch.setattr(sys, "argv", ["bench", "routing"])
    with pytest.raises(SystemExit, match=r"^Not as wanted:\nslow: 0.5, wanted >= 0.8$"):
        bench.main()
    assert "quick" in capsys.readouterr().out
