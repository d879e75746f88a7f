"""A rule as the portal's form shows it: conditions in a list, one destination. No I/O.

Not every rule fits: nested conditions and other actions are written as text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from extensions.routing.rules.complaints import Complaint, WrongRule
from extensions.routing.rules.condition_values import Operator
from extensions.routing.rules.conditions import Condition, Group, Leaf
from extensions.routing.rules.rule import RuleDocument, Trigger
from gateway.errors import InvalidInput

SHAPES = ("all", "any", "none")
_LISTS = frozenset({Operator.ONE_OF, Operator.BETWEEN})


@dataclass(frozen=True)
class Row:
    """One condition, each part as text."""

    field: str = ""
    operator: str = ""
    value: str = ""


@dataclass(frozen=True)
class Mistake:
    """What is wrong with a field of the form: its name, of a condition its row from 0, its label.

    Without a `field` it is about the rule as a whole.
    """

    field: str
    row: int
    label: str
    told: str


@dataclass(frozen=True)
class RuleForm:
    """The form, filled in."""

    name: str = ""
    trigger: str = Trigger.STUDY_STABLE
    shape: str = "all"
    rows: tuple[Row, ...] = ()
    destination: str = ""
    priority: str = "normal"
    enabled: bool = True
    stop: bool = False
    fallback: bool = False


def form_of(rule: RuleDocument) -> RuleForm | None:
    """The form of a rule; None: it says more than the form can show."""
    shown = _rows(rule.when)
    only = len(rule.actions) == 1 and rule.actions[0].action == "forward"
    if shown is None or not only or rule.complete or rule.description:
        return None
    shape, rows = shown
    return RuleForm(
        name=rule.name,
        trigger=rule.trigger,
        shape=shape,
        rows=rows,
        destination=str(rule.actions[0].settings.get("to", "")),
        priority=rule.priority,
        enabled=rule.enabled,
        stop=rule.stop,
        fallback=rule.fallback,
    )


def read_form(fields: Mapping[str, str], rows: Sequence[Sequence[str]]) -> RuleForm:
    """What was typed; a row that is empty altogether is none."""
    tags, operators, values = rows
    if not len(tags) == len(operators) == len(values):
        raise InvalidInput("conditions: each needs a tag, an operator and a value.")
    kept = filled_rows(rows)
    return RuleForm(
        name=fields.get("name", "").strip(),
        trigger=fields.get("trigger", "") or Trigger.STUDY_STABLE,
        shape=fields.get("shape", "") or "all",
        rows=tuple(Row(tags[each].strip(), operators[each], values[each].strip()) for each in kept),
        destination=fields.get("destination", ""),
        priority=fields.get("priority", "") or "normal",
        enabled=fields.get("enabled") == "yes",
        stop=fields.get("stop") == "yes",
        fallback=fields.get("fallback") == "yes",
    )


def filled_rows(rows: Sequence[Sequence[str]]) -> list[int]:
    """The places of the rows in which something stands."""
    tags, _, values = rows
    pairs = zip(tags, values, strict=True)
    return [place for place, (tag, value) in enumerate(pairs) if tag.strip() or value.strip()]


def document_of(form: RuleForm) -> dict[str, Any]:
    """The rule's JSON; `parse_rule` says what is wrong with it."""
    document: dict[str, Any] = {
        "name": form.name,
        "trigger": form.trigger,
        "enabled": form.enabled,
        "actions": [{"forward": {"to": form.destination}}],
        "priority": form.priority,
        "stop": form.stop,
        "fallback": form.fallback,
    }
    if form.rows:
        document["when"] = {form.shape: [_leaf(row) for row in form.rows]}
    return document


def mistakes_of(error: WrongRule, places: Sequence[int] | None = None) -> list[Mistake]:
    """Each complaint at its field; `places` are those of `filled_rows`, if some are empty."""
    return [_mistake(complaint, places) for complaint in error.complaints]


def in_the_form(error: WrongRule) -> WrongRule:
    """The same complaints, each by the label of the field that it is about."""
    return WrongRule(Complaint(one.label, one.told) for one in mistakes_of(error))


def _mistake(complaint: Complaint, places: Sequence[int] | None) -> Mistake:
    place, told = complaint.place, complaint.told
    if found := re.match(r"when\.\w+\[(\d+)\](?:\.(\w+))?", place):
        row, part = int(found[1]), found[2] or "field"
        name = {"field": "tag"}.get(part, part)
        shown = places[row] if places else row
        return Mistake(name, shown, f"Condition {shown + 1}, {name}", told)
    if place.startswith("actions"):
        return Mistake("destination", 0, "Forward the study to", _destination(told))
    if place in _LABELS:
        return Mistake(place, 0, _LABELS[place], told)
    return Mistake("", 0, place, told)


def _destination(told: str) -> str:
    return "choose a destination." if told.startswith("forward: to:") else told


_LABELS = {"name": "Name", "trigger": "Look at it when", "priority": "Priority"}


def _rows(when: Condition | None) -> tuple[str, tuple[Row, ...]] | None:
    if when is None:
        return "all", ()
    shape, parts = (when.kind, when.parts) if isinstance(when, Group) else ("all", (when,))
    if any(isinstance(part, Group) for part in parts):
        return None
    return shape, tuple(_row(part) for part in parts if isinstance(part, Leaf))


def _row(leaf: Leaf) -> Row:
    told = leaf.as_json()
    value = told.get("value", "")
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return Row(told["field"], told["operator"], text)


def _leaf(row: Row) -> dict[str, Any]:
    leaf: dict[str, Any] = {"field": row.field, "operator": row.operator}
    if row.operator in _LISTS:
        leaf["value"] = [part.strip() for part in row.value.split(",")]
    elif row.value or row.operator not in {Operator.EXISTS, Operator.ABSENT}:
        leaf["value"] = row.value
    return leaf
