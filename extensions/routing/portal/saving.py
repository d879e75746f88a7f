"""What every page does that makes rules live, or says what would keep them from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from extensions.routing import rulebook
from extensions.routing.portal.common import portal, who
from extensions.routing.rulebook import Rulebook
from extensions.routing.rules.rule import RuleDocument
from gateway.db import Session
from gateway.errors import InvalidInput


def save(session: Session, rules: Sequence[RuleDocument], *, based_on: int, note: str) -> Rulebook:
    """As the visitor; raises as `rulebook.save`, and for what any extension's action misses."""
    if told := missing(session, (rule for rule in rules if rule.enabled)):
        raise InvalidInput(told[0])
    return rulebook.save(session, rules, based_on=based_on, note=note, **who())


def missing(session: Session, rules: Iterable[RuleDocument]) -> list[str]:
    """What rules name and the tenant does not have, each once, with the rule and the cure."""
    steps = {str(step.as_json()): (rule, step) for rule in rules for step in rule.actions}
    return [
        f"{rule.name}: {told}"
        for rule, step in steps.values()
        for told in portal().missing_of(session, step)
    ]
