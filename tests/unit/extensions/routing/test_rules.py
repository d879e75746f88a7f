from __future__ import annotations

import pytest

from extensions.routing.rules import Condition, Operator, evaluate, parse_conditions
from gateway.errors import InvalidInput

CT = {"Modality": ("CT",), "StudyDescription": ("CT HEAD Stroke",)}
SR = {"Modality": ("SR",), "StudyDescription": ("CT HEAD Stroke",)}


def condition(tag: str, operator: str, value: str) -> dict[str, str]:
    return {"tag": tag, "operator": operator, "value": value}


@pytest.mark.parametrize(
    ("operator", "value", "met"),
    [
        ("equals", "ct head stroke", True),
        ("equals", "CT HEAD", False),
        ("contains", "HEAD", True),
        ("contains", "chest", False),
        ("matches pattern", "CT*str?ke", True),
        ("matches pattern", "stroke", False),
        ("matches pattern", "[C]T*", False),
        ("one of", "a, CT HEAD stroke", True),
        ("one of", "a,b", False),
    ],
)
def test_an_operator_compares_without_case(operator: str, value: str, met: bool) -> None:
    conditions = parse_conditions([condition("StudyDescription", operator, value)])
    assert evaluate(conditions, [CT]).applies is met


def test_all_conditions_must_be_met_by_one_series() -> None:
    conditions = parse_conditions(
        [condition("Modality", "equals", "CT"), condition("SeriesDescription", "equals", "dose")]
    )
    dose = {**SR, "SeriesDescription": ("dose",)}
    assert not evaluate(conditions, [CT, dose]).applies
    assert evaluate(conditions, [CT, {**dose, "Modality": ("CT",)}]).applies


def test_a_rule_without_conditions_applies_to_every_study() -> None:
    assert evaluate((), [CT]).applies


def test_one_of_several_values_is_enough_and_an_absent_tag_meets_nothing() -> None:
    conditions = parse_conditions([condition("ImageType", "equals", "PRIMARY")])
    assert evaluate(conditions, [{"ImageType": ("ORIGINAL", "PRIMARY")}]).applies
    assert not evaluate(conditions, [CT]).applies


def test_the_verdict_says_what_each_condition_saw_in_the_nearest_series() -> None:
    conditions = parse_conditions(
        [condition("Modality", "equals", "CT"), condition("BodyPartExamined", "equals", "HEAD")]
    )
    verdict = evaluate(conditions, [SR, CT])
    assert [(f.condition.tag, f.seen, f.met) for f in verdict.findings] == [
        ("Modality", ("CT",), True),
        ("BodyPartExamined", (), False),
    ]


def test_every_wrong_place_is_named_with_its_cure() -> None:
    with pytest.raises(InvalidInput) as error:
        parse_conditions(
            [
                condition("Modalty", "equals", "CT"),
                condition("Modality", "is", "CT"),
                condition("Modality", "equals", " "),
                condition("PixelData", "equals", "1"),
                condition("Modality", "one of", "CT,,MR"),
                {**condition("Modality", "equals", "CT"), "negate": "1"},
            ]
        )
    told = str(error.value)
    assert "Condition 1: tag 'Modalty' is unknown; did you mean Modality?" in told
    assert "Condition 2: operator 'is' is unknown; use 'equals'" in told
    assert "Condition 3: the value to compare Modality with is missing" in told
    assert "Condition 4: tag PixelData holds a sequence or binary data" in told
    assert "Condition 5" in told
    assert "Condition 6: unknown field negate" in told


def test_too_many_conditions_and_too_long_values_are_refused() -> None:
    with pytest.raises(InvalidInput, match="at most 32"):
        parse_conditions([condition("Modality", "equals", "CT")] * 33)
    with pytest.raises(InvalidInput, match="at most 256"):
        parse_conditions([condition("Modality", "equals", "C" * 257)])


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    conditions = (Condition("PatientID", Operator.MATCHES, "*a" * 120 + "b"),)
    assert not evaluate(conditions, [{"PatientID": ("a" * 5000,)}]).applies


def test_conditions_survive_the_database() -> None:
    conditions = parse_conditions([condition("Modality", "matches pattern", "C*")])
    assert parse_conditions([c.as_json() for c in conditions]) == conditions
