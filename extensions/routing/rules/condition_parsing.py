"""Expressions from JSON: every wrong place is named, with its cure. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from extensions.routing.rules.complaints import Complaints, WrongRule, did_you_mean, join
from extensions.routing.rules.condition_fields import parse_field
from extensions.routing.rules.condition_values import parse_operator, read_value
from extensions.routing.rules.conditions import Condition, Group, Kind, Leaf

KINDS: tuple[Kind, ...] = ("all", "any", "none")
MOST_DEEP = 8
MOST_NODES = 256


def parse(raw: object) -> Condition:
    """An expression from JSON; raises `WrongRule` that names every wrong place in it."""
    complaints = Complaints()
    reader = _Parser(complaints)
    condition = reader.node(raw, "", 1)
    complaints.end()
    assert condition is not None
    return condition


class _Parser:
    def __init__(self, complaints: Complaints) -> None:
        self._complaints = complaints
        self._nodes = 0

    def node(self, raw: object, place: str, depth: int) -> Condition | None:
        self._nodes += 1
        if self._nodes > MOST_NODES:
            if self._nodes == MOST_NODES + 1:
                self._complaints.add(
                    place, f"more than {MOST_NODES} conditions; split the rule into several."
                )
            return None
        if not isinstance(raw, Mapping) or not raw:
            self._complaints.add(
                place, "must be {field, operator, value}, or one of all, any, none."
            )
            return None
        kinds = [kind for kind in KINDS if kind in raw]
        return self._group(kinds[0], raw, place, depth) if kinds else self._leaf(raw, place)

    def _group(
        self, kind: Kind, raw: Mapping[Any, Any], place: str, depth: int
    ) -> Condition | None:
        parts, here = raw[kind], join(place, kind)
        if len(raw) > 1:
            others = ", ".join(sorted(str(key) for key in raw if key != kind))
            self._complaints.add(place, f"{kind} must stand alone; put {others} inside it.")
        elif depth >= MOST_DEEP:
            self._complaints.add(here, f"nested more than {MOST_DEEP} deep; make it flatter.")
        elif not isinstance(parts, Sequence) or isinstance(parts, str) or not parts:
            self._complaints.add(here, "must be a list of at least one condition.")
        else:
            read = [self.node(part, join(here, n), depth + 1) for n, part in enumerate(parts)]
            return Group(kind, tuple(part for part in read if part is not None))
        return None

    def _leaf(self, raw: Mapping[Any, Any], place: str) -> Leaf | None:
        names = ("field", "operator", "value")
        for key in sorted(str(key) for key in raw if key not in names):
            cure = did_you_mean(key, names) or f"a condition has {', '.join(names)}."
            self._complaints.add(join(place, key), f"unknown; {cure}")
        field = self._read(parse_field, raw, place, "field")
        operator = self._read(parse_operator, raw, place, "operator")
        if field is None or operator is None:
            return None
        try:
            return Leaf(field, operator, read_value(field, operator, raw.get("value")))
        except WrongRule as error:
            self._complaints.adopt(place, error)
            return None

    def _read[T](
        self, parse: Callable[[str], T], raw: Mapping[Any, Any], place: str, name: str
    ) -> T | None:
        given = raw.get(name)
        if given is not None and not isinstance(given, str):
            self._complaints.add(join(place, name), "must be a text.")
            return None
        if not given or not given.strip():
            self._complaints.add(join(place, name), "is missing; write it.")
            return None
        try:
            return parse(given.strip())
        except ValueError as error:
            self._complaints.add(join(place, name), str(error))
            return None
