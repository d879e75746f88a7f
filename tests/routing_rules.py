"""Rules for tests, saved as a tenant's admin saves them."""

from __future__ import annotations

from typing import Any

from extensions.routing import rulebook
from extensions.routing.rules import editing
from extensions.routing.rules.rule import parse_rule
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
