"""A tenant's rules as YAML that people read and keep in git. No I/O.

Only what JSON can hold: no tags, anchors or aliases. A scalar is a number only where the number is
written in the very same way: ``00123``, ``1.50`` and ``12:30`` stay the texts that they are, and
so do ``NO`` and dates.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from typing import Any

import yaml
from yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, ScalarEvent

from extensions.routing.rules.complaints import wrong
from extensions.routing.rules.rule import RuleDocument, parse_rules
from gateway.actions import Actions

MOST_CHARACTERS = 1_000_000
MOST_RULES = 1000
MOST_DEEP = 40
WIDTH = 100
SHORT = 72

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:e[-+][0-9]+)?\Z")
_BOOL = re.compile(r"(?:true|false)\Z")
_NULL = re.compile(r"(?:null|~|)\Z")


def dump_rules(rules: Sequence[RuleDocument]) -> str:
    """The rules in their order; `load_rules` reads back the very same."""
    told = {"rules": [_shaped(rule.as_json()) for rule in rules]}
    text: str = yaml.dump(
        told, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=WIDTH, indent=2
    )
    return re.sub(r"\n(?=- )(?<!rules:\n)", "\n\n", text)


def load_rules(text: str, actions: Actions | None = None) -> tuple[RuleDocument, ...]:
    """Rules from YAML; raises `WrongRule` that names every wrong place and the cure."""
    if len(text) > MOST_CHARACTERS:
        told = f"{len(text)} characters; at most {MOST_CHARACTERS} are possible. Split the list."
        raise wrong("", told)
    try:
        _check_events(text)
        raw = yaml.load(text, Loader=_Loader)  # noqa: S506  a safe loader with fewer types
    except yaml.MarkedYAMLError as error:
        raise wrong(_line(error.problem_mark), f"{error.problem}.") from None
    except yaml.YAMLError as error:
        raise wrong("", f"This is no YAML: {str(error).splitlines()[0]}.") from None
    if not isinstance(raw, dict) or set(raw) != {"rules"} or not isinstance(raw["rules"], list):
        raise wrong("", "The file must hold `rules:` and under it the list, and nothing else.")
    if len(raw["rules"]) > MOST_RULES:
        raise wrong("rules", f"{len(raw['rules'])} of them; at most {MOST_RULES} are possible.")
    return parse_rules(raw["rules"], actions)


def _check_events(text: str) -> None:
    """Refuse what is dangerous or lost before anything is made of it."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
            raise wrong(_line(event.start_mark), "anchors and aliases are not read; write it out.")
        if isinstance(event, ScalarEvent | CollectionStartEvent) and event.tag is not None:
            raise wrong(_line(event.start_mark), f"the tag {event.tag} is not read; leave it out.")
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > MOST_DEEP:
            raise wrong(_line(event.start_mark), f"nested more than {MOST_DEEP} deep; flatten it.")


def _line(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""


class _Loader(yaml.CSafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Refuse two of one name: PyYAML would keep the last and say nothing."""
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _refusal(key, "a list or mapping is no name; write a text")
            if key.value in seen:
                raise _refusal(key, f"{key.value!r} is here twice; remove one")
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)

    def construct_number(self, node: yaml.ScalarNode) -> str | int | float:
        text = str(node.value)
        for kind in (int, float):
            try:
                if _written(kind(text)) == text:
                    return kind(text)
            except ValueError:
                continue
        return text


def _refusal(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


class _Dumper(yaml.SafeDumper):
    """Quotes what other readers of YAML 1.1 would take for something else than text."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


class _OneLine(dict[str, Any]):
    """Written as ``{field: Modality, operator: equals, value: CT}``."""


def _written(number: float) -> str:
    return repr(number)


def _shaped(told: Any) -> Any:
    """Conditions, and what else is short, each in a line of their own."""
    if isinstance(told, list):
        return [_shaped(value) for value in told]
    if not isinstance(told, dict):
        return told
    shaped = {name: _shaped(value) for name, value in told.items()}
    flat = not any(isinstance(value, dict | list) for value in told.values())
    short = flat and len(str(told)) <= SHORT
    return _OneLine(shaped) if short or {"field", "operator"} <= set(told) else shaped


def _represent_text(dumper: yaml.SafeDumper, data: str) -> yaml.Node:
    return dumper.represent_scalar(_TAG + "str", data, style="|" if "\n" in data else None)


def _represent_number(dumper: yaml.SafeDumper, data: float) -> yaml.Node:
    return dumper.represent_scalar(_TAG + "float", _written(data))


def _represent_one_line(dumper: yaml.SafeDumper, data: _OneLine) -> yaml.Node:
    return dumper.represent_mapping(_TAG + "map", data.items(), flow_style=True)


_TAG = "tag:yaml.org,2002:"
_NUMERIC = list("-0123456789")
_Loader.yaml_implicit_resolvers = {}  # none of YAML 1.1's
_Loader.add_implicit_resolver(_TAG + "float", _NUMBER, _NUMERIC)
_Loader.add_implicit_resolver(_TAG + "bool", _BOOL, ["t", "f"])
_Loader.add_implicit_resolver(_TAG + "null", _NULL, ["n", "~", ""])
_Loader.add_constructor(_TAG + "float", _Loader.construct_number)
_Dumper.add_implicit_resolver(_TAG + "float", _NUMBER, _NUMERIC)
_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(float, _represent_number)
_Dumper.add_representer(_OneLine, _represent_one_line)
