"""Where an action with given settings is done, or still will be. Takes a tenant's session."""

from __future__ import annotations

from psycopg.types.json import Jsonb

from extensions.routing import rulebook
from gateway.actions import Step
from gateway.db import Session

# What has failed counts as ended: it goes on only if somebody releases it.
_OPEN = """
    SELECT (SELECT count(*) FROM rule_run
            WHERE state IN ('running', 'held') AND steps @> %(step)s) AS runs,
           (SELECT count(*) FROM delivery
            WHERE state IN ('waiting', 'sending', 'held') AND transforms @> %(step)s) AS deliveries
"""


def uses_of_step(session: Session, step: Step) -> list[str]:
    """Live rules, also those that are off; then how many studies and deliveries are under way."""
    told = [
        f"rule {rule.name!r}"
        for rule in rulebook.live(session).rules
        if any(it.action == step.action and _holds(it, step) for it in rule.actions)
    ]
    row = session.execute(_OPEN, {"step": Jsonb([step.as_json()])}).fetchone()
    assert row is not None
    if row["runs"]:
        told.append(f"rules that are not done with their study: {row['runs']}")
    if row["deliveries"]:
        told.append(f"deliveries that are not finished: {row['deliveries']}")
    return told


def _holds(it: Step, wanted: Step) -> bool:
    return wanted.settings.items() <= it.settings.items()
