from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from extensions.routing.rules import facts
from extensions.routing.rules.conditions import Facts
from extensions.routing.rules.deciding import Decision, Outcome, assign, decide
from extensions.routing.rules.rule import RuleDocument, Trigger
from tests.unit.extensions.routing.rule_samples import CT, document, leaf

NIGHT = datetime(2024, 1, 31, 23, 30)  # noqa: DTZ001  what a clock on the wall shows

THIN: Facts = {"Modality": ["CT"], "SeriesDescription": ["thin"], "calling_aet": ["ER1"]}
THICK: Facts = {"Modality": ["CT"], "SeriesDescription": ["thick"], "calling_aet": ["ER1"]}
DOSE: Facts = {"Modality": ["SR"], "SeriesDescription": ["dose"], "calling_aet": ["ER1"]}
STUDY = {"1.1": THIN, "1.2": THICK, "1.3": DOSE}


def look(*rules: RuleDocument, trigger: Trigger = Trigger.STUDY_STABLE) -> Decision:
    own = facts.of_study(list(STUDY.values()), instance_count=300)
    return decide(rules, STUDY, own, trigger, NIGHT)


def outcomes(*rules: RuleDocument, trigger: Trigger = Trigger.STUDY_STABLE) -> list[Outcome]:
    return [verdict.outcome for verdict in look(*rules, trigger=trigger).verdicts]


def test_the_series_that_fit_are_named() -> None:
    first, second = look(document("ct", CT), document("all")).fired
    assert first.series == ("1.1", "1.2")
    assert second.series == ("1.1", "1.2", "1.3")
    assert second.explanation is None


def test_one_series_must_meet_the_whole_expression() -> None:
    split = {"all": [CT, leaf("SeriesDescription", "equals", "dose")]}
    assert outcomes(document("a", split)) == [Outcome.NOT_MET]


def test_facts_of_the_study_and_of_the_clock_are_part_of_every_series() -> None:
    when = {
        "all": [
            leaf("SeriesDescription", "equals", "dose"),
            leaf("ModalitiesInStudy", "equals", "CT"),
            leaf("instance_count", "at least", 300),
            leaf("series_count", "equals", 3),
            leaf("time_of_day", "between", ["22:00", "06:00"]),
            leaf("weekday", "equals", "wednesday"),
        ]
    }
    assert look(document("a", when)).fired[0].series == ("1.3",)


def test_why_a_rule_did_not_fire_is_told_from_the_series_that_came_nearest() -> None:
    when = {"all": [leaf("Modality", "equals", "SR"), leaf("SeriesDescription", "equals", "KO")]}
    (verdict,) = look(document("a", when)).verdicts
    assert verdict.reason() == [
        {"condition": "Modality equals SR", "seen": ["SR"], "met": True},
        {"condition": "SeriesDescription equals KO", "seen": ["dose"], "met": False},
    ]


def test_reasons_within_any_and_none_say_so() -> None:
    when = {"all": [{"none": [leaf("Modality", "equals", "US")]}, {"any": [CT]}]}
    (verdict,) = look(document("a", when)).fired
    told = [line["condition"] for line in verdict.reason()]
    assert told == ["none of: Modality equals US", "any of: Modality equals CT"]


def test_rules_that_are_off_or_of_another_trigger_are_not_looked_at() -> None:
    off, other = document("off", enabled=False), document("other", trigger="on demand")
    assert outcomes(off, other) == [Outcome.OFF, Outcome.OTHER_TRIGGER]
    assert outcomes(other, trigger=Trigger.ON_DEMAND) == [Outcome.FIRED]


def test_stop_ends_the_list_only_when_its_rule_fires() -> None:
    quiet = document("quiet", leaf("Modality", "equals", "US"), stop=True)
    stop = document("stop", CT, stop=True)
    assert outcomes(document("a"), quiet, stop, document("b")) == [
        Outcome.FIRED,
        Outcome.NOT_MET,
        Outcome.FIRED,
        Outcome.STOPPED,
    ]


def test_a_fallback_applies_only_when_no_other_has_fired_wherever_it_stands() -> None:
    fallback = document("else", fallback=True)
    assert outcomes(fallback, document("a", CT)) == [Outcome.NOT_NEEDED, Outcome.FIRED]
    quiet = document("quiet", leaf("Modality", "equals", "US"))
    assert outcomes(fallback, quiet) == [Outcome.FIRED, Outcome.NOT_MET]
    assert outcomes(fallback, document("else 2", fallback=True))[1] is Outcome.NOT_NEEDED
    elsewhere = document("on demand", trigger="on demand")
    assert outcomes(elsewhere, fallback)[1] is Outcome.FIRED


def complete(**expected: Any) -> RuleDocument:
    return document("complete", trigger="study complete", complete=expected)


@pytest.mark.parametrize(
    ("expected", "outcome"),
    [
        ({"instances": 300}, Outcome.FIRED),
        ({"instances": 301}, Outcome.INCOMPLETE),
        ({"series": [CT, CT]}, Outcome.FIRED),
        ({"series": [CT, CT, CT]}, Outcome.INCOMPLETE),
        ({"series": [CT, leaf("SeriesDescription", "equals", "thin")]}, Outcome.FIRED),
        ({"series": [leaf("Modality", "equals", "PR")]}, Outcome.INCOMPLETE),
        ({"series": [CT], "instances": 301}, Outcome.INCOMPLETE),
    ],
)
def test_a_study_is_complete_when_each_expected_series_is_another_one(
    expected: dict[str, Any], outcome: Outcome
) -> None:
    assert outcomes(complete(**expected), trigger=Trigger.STUDY_COMPLETE) == [outcome]


def test_what_is_still_missing_is_told() -> None:
    rule = complete(series=[CT, leaf("Modality", "equals", "PR")], instances=301)
    (verdict,) = look(rule, trigger=Trigger.STUDY_COMPLETE).verdicts
    told = json.loads(json.dumps(verdict.as_json()))
    assert [(part["series"], part["met"]) for part in told["complete"]] == [
        ("1.1", True),
        (None, False),
        (None, False),
    ]
    assert verdict.reason()[-1] == {
        "condition": "instance_count at least 301",
        "seen": ["300"],
        "met": False,
    }


def test_as_many_expected_series_as_possible_find_one() -> None:
    assert assign([["a", "b"], ["a"]]) == ["b", "a"]
    assert assign([["a"], ["a"], []]) == ["a", None, None]


def test_a_trigger_of_one_series_is_given_one() -> None:
    rule = document("a", CT, trigger="series stable")
    assert decide([rule], {"1.1": THIN}, {}, Trigger.SERIES_STABLE, NIGHT).fired
    with pytest.raises(ValueError, match="about one series, not 3"):
        decide([rule], STUDY, {}, Trigger.SERIES_STABLE, NIGHT)


def test_a_study_without_series_fires_nothing() -> None:
    assert not decide([document("a")], {}, {}, Trigger.STUDY_STABLE, NIGHT).fired


def busy(number: int) -> RuleDocument:
    when = {
        "all": [
            leaf("Modality", "one of", ["CT", "MR"]),
            leaf("SeriesDescription", "matches pattern", f"th*{number}*"),
            {"none": [leaf("calling_aet", "equals", f"ER{number}")]},
        ]
    }
    return document(f"rule {number}", when)


def cpu_seconds(deed: Callable[[], object]) -> float:
    """The best of five: what else runs takes caches away, and some of the processor's speed."""
    took = []
    for _ in range(5):
        began = time.process_time()
        deed()
        took.append(time.process_time() - began)
    return min(took)


def test_a_thousand_rules_are_evaluated_in_the_time_that_is_promised() -> None:
    rules = [busy(number) for number in range(1000)]
    assert cpu_seconds(lambda: look(*rules)) < 0.05  # 5 ms where it was written


def test_ten_rules_are_evaluated_for_ten_thousand_series_in_a_third_of_a_tryouts_time() -> None:
    """A try-out has 3 s for so many, with all that is read and written."""
    rules = [busy(number) for number in range(10)]

    def deed() -> None:
        for number in range(10_000):
            decide(rules, {str(number): THIN}, {}, Trigger.STUDY_STABLE, NIGHT)

    assert cpu_seconds(deed) < 1  # 0.2 s where it was written
