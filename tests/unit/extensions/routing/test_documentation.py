"""The READMEs tell every setting, action, condition, trigger and state."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ConfigDict

from extensions import routing
from extensions.routing.changes import crosswalk_sources
from extensions.routing.destination_settings import MODELS
from extensions.routing.ledger import InstanceState
from extensions.routing.rules.condition_fields import FACTS, RESULT, parse_field
from extensions.routing.rules.condition_values import Operator
from extensions.routing.rules.rule import Complete, Priority, RuleDocument, Trigger
from extensions.routing.rules.rules_yaml import dump_rules, load_rules
from extensions.routing.sending import name_pattern
from extensions.routing.sending.limits import Limits
from gateway import plugins
from gateway.actions import Action, Actions, RuleJob

README = Path(routing.__file__).with_name("README.md")


class Anything(BaseModel):
    model_config = ConfigDict(extra="allow")


ACTIONS = Actions(
    Actions.of(plugins.load("worker", plugins.discover())),
    {"scan_length": [RuleJob("measure", "", Anything)]},  # of extensions/README.md
)

RULES = [
    *Trigger,
    *get_args(Priority.__value__),
    *RuleDocument.model_fields,
    *Complete.model_fields,
]
CONDITIONS = [*Operator, *FACTS, f"{RESULT}NAME"]
DESTINATIONS = [
    *((kind, name) for kind, model in MODELS.items() for name in model.model_fields),
    *(("limit", name) for name in Limits.model_fields),
]


def section(title: str) -> str:
    """What stands below a heading, with the smaller headings there."""
    text = README.read_text(encoding="utf-8")
    found = re.search(rf"^(#+) {title}\n(.*)", text, re.MULTILINE | re.DOTALL)
    assert found, f"no section {title!r}"
    return re.split(rf"^#{{1,{len(found[1])}}} ", found[2], flags=re.MULTILINE)[0]


def manual_of(action: Action) -> str:
    """The section of one of routing's actions, the README of another extension's."""
    extension = action.settings.__module__.split(".")[1]
    if extension == "routing":
        return section(action.name)
    return (README.parents[1] / extension / "README.md").read_text(encoding="utf-8")


def words_of(schema: Any) -> Iterator[str]:
    """Each setting and each choice that a JSON schema has, of nested models too."""
    if isinstance(schema, dict):
        yield from schema.get("properties", ())
        yield from schema.get("enum", [schema["const"]] if "const" in schema else ())
        for part in schema.values():
            yield from words_of(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from words_of(part)


def example(manual: str) -> str:
    return manual.partition("```yaml\n")[2].partition("```")[0]


@pytest.mark.parametrize("action", tuple(ACTIONS), ids=lambda action: action.name)
def test_the_manual_tells_each_action_with_every_setting_and_choice(action: Action) -> None:
    manual, words = manual_of(action), set(words_of(action.settings.model_json_schema()))
    assert [word for word in sorted(words) if f"`{word}`" not in manual] == []


@pytest.mark.parametrize("action", tuple(ACTIONS), ids=lambda action: action.name)
def test_the_manual_shows_each_action_by_a_line_that_a_rule_may_have(action: Action) -> None:
    text = f"rules:\n- name: Example\n  actions:\n{indent(example(manual_of(action)), '  ')}"
    (rule,) = load_rules(text, ACTIONS)
    assert [step.action for step in rule.actions] == [action.name]


def test_the_manual_tells_every_setting_of_a_crosswalks_table() -> None:
    schemas = [model.model_json_schema() for model in crosswalk_sources.MODELS.values()]
    manual = section("crosswalk")
    assert [w for w in words_of(schemas) if w != "kind" and f"`{w}`" not in manual] == []


@pytest.mark.parametrize("name", RULES)
def test_the_manual_tells_every_trigger_priority_and_setting_of_a_rule(name: str) -> None:
    assert f"`{name}`" in section("Rules").partition("\n### ")[0]


@pytest.mark.parametrize("name", CONDITIONS)
def test_the_manual_tells_every_operator_and_every_fact(name: str) -> None:
    assert f"`{name}`" in section("Conditions")


def test_the_fields_of_the_manual_can_be_looked_at() -> None:
    table = section("Conditions").partition("| field |")[2].partition("\n\n")[0]
    fields = re.findall(r"`([^`]+)`", "\n".join(re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE)))
    for field in fields:
        parse_field(field.replace("NAME", "name"))
    assert len(fields) > len(FACTS)


def test_the_manuals_rules_can_be_imported() -> None:
    text = example(section("Rules"))
    assert dump_rules(load_rules(text)) == text


@pytest.mark.parametrize(("kind", "name"), DESTINATIONS)
def test_the_manual_tells_every_setting_of_its_kind_of_destination(kind: str, name: str) -> None:
    manual = section("Destinations")
    first, following = ("| limit |", "\n\n") if kind == "limit" else (f"\n| `{kind}` (", "\n| `")
    assert first in manual
    rows = manual.split(first)[1].split(following)[0].split("\n\n")[0]
    assert name == "kind" or f"`{name}`" in rows


@pytest.mark.parametrize("state", InstanceState.__value__.__args__)
def test_the_manual_tells_every_state(state: str) -> None:
    assert f"\n| {state} |" in section("Deliveries")


def test_the_manual_tells_the_standard_pattern() -> None:
    assert f"`{name_pattern.STANDARD}`" in section("Destinations")
