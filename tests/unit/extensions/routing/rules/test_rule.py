from __future__ import annotations

import json
from typing import Any

import pytest

from extensions.routing.rules.complaints import WrongRule
from extensions.routing.rules.rule import Trigger, parse_rule, parse_rules
from gateway.actions import Step
from tests.unit.extensions.routing.rule_samples import ACTIONS, CT, document, leaf

FULL = {
    "name": "CT from the emergency room",
    "description": "As agreed\nwith radiology.",
    "enabled": False,
    "trigger": "study complete",
    "complete": {"series": [CT, {"any": [CT, leaf("Rows", "at least", 256)]}], "instances": 100},
    "when": {"all": [leaf("calling_aet", "matches pattern", "ER*")]},
    "actions": [{"forward": {"to": "archive"}}, {"forward": {"to": "research"}}],
    "priority": "urgent",
    "fallback": True,
    "stop": True,
}


def test_a_rule_survives_json_as_it_is_written() -> None:
    rule = parse_rule(FULL, ACTIONS)
    assert rule.as_json() == FULL
    assert parse_rule(json.loads(json.dumps(rule.as_json())), ACTIONS) == rule
    assert rule.actions[1] == Step("forward", {"to": "research"})


def test_what_has_its_default_is_not_written_but_for_the_trigger() -> None:
    assert document("a").as_json() == {
        "name": "a",
        "trigger": "study stable",
        "actions": [{"forward": {"to": "archive"}}],
    }
    assert document("a").trigger is Trigger.STUDY_STABLE


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "name: must be 1 to 64 characters in one line, without /."),
    ({"name": "a\nb"}, "name: must be 1 to 64 characters in one line, without /."),
    ({"name": None}, "name: must be a valid string."),
    ({"enabled": "perhaps"}, "enabled: must be true or false."),
    ({"trigger": "stable"}, "trigger: must be 'before storage', 'instance received', 'series st"),
    ({"priority": "high"}, "priority: must be 'urgent', 'normal' or 'off-peak'."),
    ({"wehn": CT}, "wehn: is unknown; did you mean when?"),
    ({3: 4}, "[3]: is no name; use one of name, description"),
    ({"description": "a\0"}, "description: holds control characters; remove them."),
    ({"when": leaf("Modalty", "exists")}, "when.field: tag 'Modalty' is unknown; did you mean"),
    ({"actions": []}, "actions: must hold at least 1."),
    ({"actions": {"forward": {}}}, "actions: must be a list."),
    ({"actions": ["forward"]}, "actions[0]: must be one action with its settings, such as `hold"),
    ({"actions": [{"forward": "x"}]}, "actions[0].forward: must hold settings by their names"),
    ({"actions": [{"forward": {"to": "\0"}}]}, "actions[0].forward: must hold texts, numbers"),
    ({"actions": [{"forward": {"to": object()}}]}, "actions[0].forward: must hold texts, numbers"),
    ({"actions": [{"forward": {"to": 1, "by": "x"}}]}, "actions[0]: forward: to: Input should be"),
    ({"actions": [{"fax": {}}]}, "actions[0]: action: 'fax' is unknown; use one of forward."),
    ({"trigger": "study complete"}, "complete: is missing; 'study complete' needs it."),
    ({"complete": {"instances": 3}}, "complete: means nothing to 'study stable'; leave it out"),
    ({"trigger": "study complete", "complete": {}}, "complete: needs series, instances or both."),
    ({"complete": {"instances": 0}}, "complete.instances: must be greater than or equal to 1."),
    ({"complete": {"instance": 1}}, "complete.instance: is unknown; did you mean instances?"),
    ({"complete": {"series": [CT, 5]}}, "complete.series[1]: must be {field, operator, value}"),
]


@pytest.mark.parametrize(("change", "told"), WRONG)
def test_a_wrong_place_is_named_with_its_cure(change: dict[Any, Any], told: str) -> None:
    raw = {"name": "a", "actions": [{"forward": {"to": "archive"}}], **change}
    with pytest.raises(WrongRule) as error:
        parse_rule(raw, ACTIONS)
    assert any(str(complaint).startswith(told) for complaint in error.value.complaints)


def test_settings_nested_without_end_are_refused() -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(WrongRule, match="at most 8 deep"):
        parse_rule({"name": "a", "actions": [{"forward": {"to": deep}}]})


def test_every_wrong_rule_is_told_at_once_and_names_are_given_once() -> None:
    good = document("a").as_json()
    with pytest.raises(WrongRule) as error:
        parse_rules([good, 5, good, {**good, "when": {"all": [leaf("Rows", "equals", "x")]}}])
    assert [complaint.place for complaint in error.value.complaints] == [
        "rules[1]",
        "rules[2].name",
        "rules[3].when.all[0].value",
    ]
    assert "'a' is the name of rules[0] too" in str(error.value)


def test_a_wrong_value_is_not_quoted_where_it_may_be_a_secret() -> None:
    raw = {"name": "a", "actions": [{"forward": {"to": ["hush"]}}]}
    with pytest.raises(WrongRule) as error:
        parse_rule(raw, ACTIONS)
    assert "hush" not in str(error.value)


WIDE = leaf("result.aorta", "at least", 5.5)


@pytest.mark.parametrize(
    ("others", "looks"),
    [
        ({}, False),
        ({"when": CT}, False),
        ({"when": WIDE}, True),
        ({"when": {"all": [CT, {"none": [{"any": [WIDE]}]}]}}, True),
        ({"trigger": "study complete", "complete": {"instances": 3}}, False),
        ({"trigger": "study complete", "complete": {"series": [CT, WIDE]}}, True),
    ],
)
def test_a_rule_knows_whether_it_looks_at_results(others: dict[str, Any], looks: bool) -> None:
    assert document("a", **others).looks_at_results is looks
