"""Rules for tests, saved as a tenant's admin saves them, and what they have begun."""

from __future__ import annotations

from typing import Any

from extensions.routing import rulebook, runs
from extensions.routing.rules import editing
from extensions.routing.rules.rule import parse_rule
from gateway.actions import Step
from gateway.db import Session

type Condition = tuple[str, str, str | list[str]]


def add_rule(
    session: Session,
    name: str,
    to: str,
    *conditions: Condition,
    actions: list[dict[str, Any]] | None = None,
    **more: Any,
) -> None:
    """Add a rule that forwards `to` a destination, or does `actions`, if all conditions are met."""
    document: dict[str, Any] = {
        "name": name,
        "actions": actions or [{"forward": {"to": to}}],
        **more,
    }
    if conditions:
        leaves = [dict(zip(("field", "operator", "value"), c, strict=True)) for c in conditions]
        document["when"] = {"all": leaves}
    book = rulebook.live(session)
    changed = editing.put(book.rules, "", parse_rule(document))
    rulebook.save(session, changed, based_on=book.version, actor="test")


def remove_rule(session: Session, name: str) -> None:
    """Take a rule out."""
    book = rulebook.live(session)
    rulebook.save(session, editing.remove(book.rules, name), based_on=book.version, actor="test")


def begin_run(session: Session, study_uid: str, name: str, *steps: Step) -> runs.Run:
    """What a rule of that name has begun with a study of one instance."""
    run_id = runs.begin(
        session, study_uid=study_uid, series_uid="", rule_name=name, version=1, reason=[],
        steps=steps, priority="normal", instances=1,
    )  # fmt: skip
    assert run_id is not None
    return runs.get_run(session, run_id)
