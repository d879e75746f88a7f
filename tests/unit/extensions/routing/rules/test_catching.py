"""What applies while a study arrives, and when it is stable."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from extensions.routing.rules.catching import WHEN_STABLE, WHILE_ARRIVING, caught
from extensions.routing.rules.conditions import Facts
from extensions.routing.rules.rule import RuleDocument
from tests.unit.extensions.routing.rule_samples import document, leaf

NOON = datetime(2024, 1, 31, 12, 0)  # noqa: DTZ001  what a clock on the wall shows
THIN = leaf("SeriesDescription", "equals", "thin")
DOSE = leaf("SeriesDescription", "equals", "dose")


def series(description: str) -> Facts:
    return {"SeriesDescription": [description], "NumberOfSeriesRelatedInstances": [10]}


STUDY = {"1.1": series("thin"), "1.2": series("dose"), "1.3": series("scout")}


def complete(name: str = "complete", *, whole: bool = True, **more: Any) -> RuleDocument:
    """A rule that expects two series, or one that is not there."""
    expected = [THIN, DOSE] if whole else [leaf("SeriesDescription", "equals", "late")]
    return document(name, trigger="study complete", **{"complete": {"series": expected}, **more})


def arriving(*rules: RuleDocument, growing: Collection[str] = ()) -> list[str]:
    found = caught(rules, STUDY, triggers=WHILE_ARRIVING, now=NOON, growing=growing)
    return [catch.verdict.rule.name for catch in found]


def stable(*rules: RuleDocument) -> list[str]:
    found = caught(rules, STUDY, triggers=WHEN_STABLE, now=NOON)
    return [catch.verdict.rule.name for catch in found]


def test_a_study_is_complete_while_a_series_arrives_that_is_not_expected() -> None:
    assert arriving(complete(), growing=["1.3"]) == ["complete"]


def test_a_study_is_not_complete_while_an_expected_series_grows() -> None:
    assert arriving(complete(), growing=["1.2"]) == []
    assert stable(complete()) == ["complete"]


def test_an_expected_count_is_reached_while_series_grow() -> None:
    counted = complete(complete={"instances": 30})
    assert arriving(counted, growing=list(STUDY)) == ["complete"]
    assert arriving(complete(complete={"instances": 31})) == []
    both = complete(complete={"instances": 30, "series": [THIN]})
    assert arriving(both, growing=["1.1"]) == []
    assert arriving(both, growing=["1.2"]) == ["complete"]


def test_a_fallback_waits_until_no_other_rule_can_be_complete() -> None:
    assert arriving(complete("else", fallback=True), complete(whole=False)) == []
    assert stable(complete("else", fallback=True), complete(whole=False)) == ["else"]


def test_what_a_rule_may_still_stop_waits_for_it() -> None:
    stop = complete("stop", whole=False, stop=True)
    assert arriving(complete("a"), stop, complete("b")) == ["a"]
    assert stable(complete("a"), stop, complete("b")) == ["a", "b"]
    off = complete("off", whole=False, stop=True, enabled=False)
    assert arriving(off, complete("b")) == ["b"]


def test_a_series_that_grows_is_not_stable() -> None:
    rule = document("each", trigger="series stable")
    assert arriving(rule, growing=["1.1", "1.2"]) == ["each"]
    assert stable(rule) == ["each"] * 3
