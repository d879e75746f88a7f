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
    return RuleForm(
        name=fields.get("name", "").strip(),
        trigger=fields.get("trigger", "") or Trigger.STUDY_STABLE,
        shape=fields.get("shape", "") or "all",
        rows=tuple(
            Row(field.strip(), operator, value.strip())
            for field, operator, value in zip(tags, operators, values, strict=True)
            if field.strip() or value.strip()
        ),
        destination=fields.get("destination", ""),
        priority=fields.get("priority", "") or "normal",
        enabled=fields.get("enabled") == "yes",
        stop=fields.get("stop") == "yes",
        fallback=fields.get("fallback") == "yes",
    )


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


def in_the_form(error: WrongRule) -> WrongRule:
    """The same complaints, each at the row of the form that it is about."""
    return WrongRule(
        Complaint(re.sub(r"^when\.\w+\[(\d+)\].*$", _row_number, complaint.place), complaint.told)
        for complaint in error.complaints
    )


def _row_number(place: re.Match[str]) -> str:
    return f"Condition {int(place[1]) + 1}"


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
