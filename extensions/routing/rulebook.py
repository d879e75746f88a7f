"""The rows that hold a tenant's rules, every version of them. All functions take its session."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

import psycopg.errors
from psycopg.types.json import Jsonb

from extensions.routing.missing import missing_of_step
from extensions.routing.rules import before_storage_limits
from extensions.routing.rules.catching import WHILE_ARRIVING
from extensions.routing.rules.rule import RuleDocument, Trigger, parse_rules
from gateway import audit, studies
from gateway.db import Row, Session
from gateway.errors import Conflict, InvalidInput, NotFound


@dataclass(frozen=True)
class Rulebook:
    """All rules of a tenant in their order, as one version of them. Version 0: there are none."""

    version: int
    rules: tuple[RuleDocument, ...]
    author: str = ""
    note: str = ""
    created_at: datetime | None = None


_SELECT = "SELECT tenant_id, version, rules::text AS rules, author, note, created_at FROM rulebook "


def live(session: Session) -> Rulebook:
    """The rules by which studies are routed now."""
    row = session.execute(_SELECT + "ORDER BY version DESC LIMIT 1").fetchone()
    return Rulebook(0, ()) if row is None else _read(row)


def get(session: Session, version: int) -> Rulebook:
    """One version; raises `NotFound`."""
    row = session.execute(_SELECT + "WHERE version = %s", [version]).fetchone()
    if row is None:
        raise NotFound(f"Version {version} of the rules.")
    return _read(row)


def history(session: Session, *, limit: int = 50, before: int | None = None) -> list[Rulebook]:
    """Versions, newest first."""
    rows = session.execute(
        _SELECT + "WHERE %(before)s::integer IS NULL OR version < %(before)s "
        "ORDER BY version DESC LIMIT %(limit)s",
        {"before": before, "limit": limit},
    )
    return [_read(row) for row in rows]


def save(
    session: Session,
    changed: Sequence[RuleDocument],
    *,
    based_on: int,
    note: str = "",
    actor: str,
    origin: str = "",
) -> Rulebook:
    """Make a new version live; raises `Conflict` if `based_on` is not the live one any more.

    Raises `InvalidInput` for a rule that is on and names what is not there (`missing.py`), and for
    too many rules before storage.
    """
    _check_names(session, changed)
    before_storage_limits.check_together(
        [rule.actions for rule in changed if rule.trigger is Trigger.BEFORE_STORAGE]
    )
    try:
        with session.transaction():
            row = session.execute(
                """
                INSERT INTO rulebook (tenant_id, version, rules, author, note)
                SELECT current_tenant(), %(based_on)s + 1, %(rules)s, %(actor)s, %(note)s
                WHERE %(based_on)s = (SELECT coalesce(max(version), 0) FROM rulebook)
                RETURNING tenant_id, version, rules::text AS rules, author, note, created_at
                """,
                {
                    "based_on": based_on,
                    "rules": Jsonb([rule.as_json() for rule in changed]),
                    "actor": actor,
                    "note": note,
                },
            ).fetchone()
    except psycopg.errors.UniqueViolation:
        row = None
    if row is None:
        raise Conflict("The rules were changed meanwhile; look at them and change them again.")
    wanted = any(rule.enabled and rule.trigger in WHILE_ARRIVING for rule in changed)
    studies.watch_arrivals(session, "routing", wanted=wanted)
    session.execute("SELECT pg_notify('argonath_transform', '')")  # see before_storage.py
    record = audit.Record(
        actor=actor,
        action="change-rules",
        resource=f"rules version {row['version']}",
        verdict="allowed",
        tenant_id=row["tenant_id"],
        origin=origin,
        detail=note,
    )
    audit.append(session, record)
    return _read(row)


def _check_names(session: Session, rules: Sequence[RuleDocument]) -> None:
    steps = {
        str(step.as_json()): (rule.name, step)
        for rule in reversed(rules)
        if rule.enabled
        for step in rule.actions
    }
    for name, step in steps.values():
        if told := missing_of_step(session, step):
            raise InvalidInput(f"{name}: {told[0]}")


@lru_cache(maxsize=16)
def _parsed(rules: str) -> tuple[RuleDocument, ...]:
    # A thousand rules take a quarter of a second, and every study asks for them.
    return parse_rules(json.loads(rules))


def _read(row: Row) -> Rulebook:
    return Rulebook(
        row["version"],
        _parsed(row["rules"]),
        row["author"],
        row["note"],
        row["created_at"],
    )
