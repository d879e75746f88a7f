"""What is different between two lists of rules, in words for people. No I/O."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal

from extensions.routing.rules.complaints import join
from extensions.routing.rules.rule import RuleDocument


@dataclass(frozen=True)
class Change:
    """A rule by its name, and what is different; the lines are for people.

    A line is ``place: before → after``, ``place: + what is new`` or ``place: - what is gone``.
    """

    kind: Literal["added", "removed", "changed", "moved"]
    name: str
    lines: tuple[str, ...] = ()


def diff(old: Sequence[RuleDocument], new: Sequence[RuleDocument]) -> list[Change]:
    """What turns the old list into the new one; a rule with a new name is another rule.

    First what is gone, then the new list in its order. A rule is *moved* when its place among
    those that both have is another; one that was both changed and moved is told twice.
    """
    before, after = {rule.name: rule for rule in old}, {rule.name: rule for rule in new}
    changes = [
        Change("removed", name, tuple(_summary(rule)))
        for name, rule in before.items()
        if name not in after
    ]
    moved = _moved([n for n in before if n in after], [n for n in after if n in before])
    for name, rule in after.items():
        if name not in before:
            changes.append(Change("added", name, tuple(_summary(rule))))
            continue
        lines = tuple(_compare("", _fields(before[name]), _fields(rule)))
        changes += [Change("changed", name, lines)] if lines else []
        changes += [Change("moved", name, (moved[name],))] if name in moved else []
    return changes


def _moved(before: list[str], after: list[str]) -> dict[str, str]:
    """Who must be moved, as few as possible, and behind whom."""
    kept: set[str] = set()
    for block in SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks():
        kept.update(before[block.a : block.a + block.size])
    behind = dict(zip(after[1:], after, strict=False))
    return {
        name: f"now after {behind[name]!r}" if name in behind else "now first"
        for name in after
        if name not in kept
    }


def _summary(rule: RuleDocument) -> Iterator[str]:
    for place, value in rule.as_json().items():
        if place != "name":
            yield f"{place}: {_told(value)}"


def _fields(rule: RuleDocument) -> dict[str, Any]:
    told = rule.model_dump(mode="json")
    return {name: value for name, value in told.items() if value not in (None, "")}


def _compare(place: str, before: Any, after: Any) -> Iterator[str]:
    if before == after and type(before) is type(after):
        return
    if isinstance(before, dict) and isinstance(after, dict) and not _other_line(before, after):
        yield from _compare_fields(place, before, after)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _compare_lists(place, before, after)
    else:
        yield f"{place}: {_told(before)} → {_told(after)}"


def _compare_fields(
    place: str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[str]:
    for name in [*before, *(name for name in after if name not in before)]:
        here = join(place, name)
        if name not in after:
            yield f"{here}: - {_told(before[name])}"
        elif name not in before:
            yield f"{here}: + {_told(after[name])}"
        else:
            yield from _compare(here, before[name], after[name])


def _compare_lists(place: str, before: list[Any], after: list[Any]) -> Iterator[str]:
    matcher = SequenceMatcher(None, _keys(before), _keys(after), autojunk=False)
    for kind, a, a_end, b, b_end in matcher.get_opcodes():
        if kind == "equal":
            continue
        both = min(a_end - a, b_end - b)
        for n in range(both):
            yield from _compare(join(place, b + n), before[a + n], after[b + n])
        yield from (f"{join(place, n)}: - {_told(before[n])}" for n in range(a + both, a_end))
        yield from (f"{join(place, n)}: + {_told(after[n])}" for n in range(b + both, b_end))


def _keys(values: list[Any]) -> list[str]:
    return [json.dumps(value, sort_keys=True) for value in values]


def _other_line(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether one condition or action took another's place, rather than being changed itself."""
    if "operator" in before and "operator" in after:
        return bool(before["field"] != after["field"])
    return not set(before) & set(after)


def _told(value: Any) -> str:
    """A condition as ``Modality equals CT``, an action as ``forward {"to": "archive"}``."""
    match value:
        case {"field": field, "operator": operator, **rest}:
            return " ".join([field, operator, *map(_told, rest.values())])
        case {"all": list(parts)} | {"any": list(parts)} | {"none": list(parts)} if len(value) == 1:
            return f"{next(iter(value))} of ({'; '.join(map(_told, parts))})"
        case dict() if [type(settings) for settings in value.values()] == [dict]:
            ((name, settings),) = value.items()
            return f"{name} {json.dumps(settings, ensure_ascii=False)}"
        case [*parts]:
            return ("; " if any(isinstance(p, dict) for p in parts) else ", ").join(
                map(_told, parts)
            )
        case str():
            return value
    return json.dumps(value, ensure_ascii=False)
