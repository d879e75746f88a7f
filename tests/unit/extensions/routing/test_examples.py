"""The examples beside the editor can be inserted where they belong."""

from __future__ import annotations

import pytest

from extensions.routing.portal.text_help import EXAMPLES, FIRST
from extensions.routing.rules.rules_yaml import load_rules
from gateway import plugins
from gateway.actions import Actions

ACTIONS = Actions.of(plugins.load("worker", plugins.discover()))
LABEL = "  actions:\n  - label: {add: [a]}\n"


def rule_with(example: str) -> str:
    """A rule with a part of one: an action, a condition, or settings of the rule."""
    name = "rules:\n- name: Example\n"
    if example.startswith("  - "):
        return f"{name}  actions:\n{example}"
    if example.startswith("    - "):
        return f"{name}  when:\n    all:\n{example}{LABEL}"
    return f"{name}{example}" + ("" if "actions:" in example else LABEL)


@pytest.mark.parametrize("example", [code for _, code in EXAMPLES])
def test_an_example_is_part_of_a_rule(example: str) -> None:
    assert len(load_rules(rule_with(example), ACTIONS)) == 1


def test_the_first_rule_is_whole() -> None:
    assert len(load_rules(FIRST, ACTIONS)) == 1
    assert len(load_rules(FIRST + "- name: B\n" + LABEL, ACTIONS)) == 2
