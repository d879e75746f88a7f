"""Rules and actions for the tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from extensions.routing.rules.rule import RuleDocument, parse_rule
from gateway.actions import Actions, Effect, Subject
from gateway.context import TaskContext


class To(BaseModel):
    model_config = ConfigDict(extra="forbid")
    to: str


def nothing(context: TaskContext, settings: To, subject: Subject) -> None:
    raise AssertionError("rules are only checked here")


ACTIONS = Actions([Effect("forward", "Forward", To, nothing)])


def leaf(field: str, operator: str, value: Any = None) -> dict[str, Any]:
    told = {"field": field, "operator": operator}
    return told if value is None else {**told, "value": value}


CT = leaf("Modality", "equals", "CT")


def document(name: str, when: Mapping[str, Any] | None = None, **others: Any) -> RuleDocument:
    raw = {"name": name, "actions": [{"forward": {"to": "archive"}}], **others}
    return parse_rule(raw | ({"when": when} if when else {}), ACTIONS)
