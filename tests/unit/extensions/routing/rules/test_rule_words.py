"""A rule in words, and the line at which a mistake in its text stands."""

from __future__ import annotations

import pytest

from extensions.routing.rules.complaints import Complaint
from extensions.routing.rules.rule import parse_rule
from extensions.routing.rules.rule_words import action_words, words_of
from extensions.routing.rules.rules_lines import marked
from gateway.actions import Step
from tests.unit.extensions.routing.rule_samples import CT, document, leaf

TEXT = """\
rules:
- name: A
  when:
    all:
    - {field: Modality, operator: equals, value: CT}
    - any:
      - field: Bod
        operator: equals
  actions: [hold: {reason: Look.}]
- {name: B, colour: red}
"""


def test_nested_conditions_are_told_so_that_they_mean_one_thing() -> None:
    either = {"any": [leaf("BodyPartExamined", "equals", "CHEST"), leaf("labels", "exists")]}
    neither = {"none": [leaf("calling_aet", "equals", "ER"), leaf("weekday", "equals", "sunday")]}
    told = words_of(document("A", {"all": [CT, either, neither]})).when
    assert told == (
        "When a study is stable and one series has Modality equals CT and "
        "(BodyPartExamined equals CHEST or labels exists) and "
        "not (calling_aet equals ER or weekday equals sunday)"
    )


def test_a_rule_without_conditions_says_so_and_every_peculiarity_is_told() -> None:
    told = words_of(document("A", priority="urgent", fallback=True, stop=True, enabled=False))
    assert told.when == "When a study is stable, whatever it is"
    assert told.then == ("forward to archive",)
    assert len(told.besides) == 4


def test_what_completes_a_study_is_told() -> None:
    raw = {
        "name": "A",
        "trigger": "study complete",
        "complete": {"series": [CT], "instances": 40},
        "actions": [{"label": {"add": ["x"]}}],
    }
    told = words_of(parse_rule(raw)).when
    assert "(a series with Modality equals CT; at least 40 instances)" in told


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (Step("label", {"add": ["a", "b"], "remove": ["c"]}), "label: add a, b; take away c"),
        (Step("label", {"remove": ["c"]}), "label: take away c"),
        (
            Step("morph", {"changes": [{"do": "copy", "from": "A", "to": "B"}]}),
            "change tags: copy A to B",
        ),
        (Step("infer", {"model": "lung", "fast": True}), "infer: model lung; fast yes"),
        (Step("archive", {}), "archive"),
    ],
)
def test_an_action_is_told_in_a_line(step: Step, told: str) -> None:
    assert action_words(step) == told


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("rules[0].when.all[0].field", 5),
        ("rules[0].when.all[1].any[0].field", 7),
        ("rules[0].when.all[1].any[0].value", 7),  # it is missing: the condition
        ("rules[0].actions[0].hold", 9),
        ("rules[1].colour", 10),
        ("rules[7]", 1),
        ("line 3, column 2", 3),
        ("", 0),
    ],
)
def test_a_mistake_stands_at_its_line(place: str, line: int) -> None:
    (found,) = marked(TEXT, [Complaint(place, "is wrong.")])
    assert found.line == line


def test_a_text_that_is_no_yaml_has_no_lines_but_the_one_that_is_told() -> None:
    complaints = [Complaint("line 1, column 9", "mapping values are not allowed here.")]
    assert [one.line for one in marked("rules: a: b", complaints)] == [1]
    assert marked("rules: a: b", [Complaint("rules", "?")])[0].line == 0
