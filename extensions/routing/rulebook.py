"""The rows that hold a tenant's rules, every version of them. All functions take its session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg.errors
from psycopg.types.json import Jsonb

from extensions.routing.rule import RuleDocument, Trigger, parse_rules
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


def live(session: Session) -> Rulebook:
    """The rules by which studies are routed now."""
    row = session.execute("SELECT * FROM rulebook ORDER BY version DESC LIMIT 1").fetchone()
    return Rulebook(0, ()) if row is None else _read(row)


def get(session: Session, version: int) -> Rulebook:
    """One version; raises `NotFound`."""
    row = session.execute("SELECT * FROM rulebook WHERE version = %s", [version]).fetchone()
    if row is None:
        raise NotFound(f"Version {version} of the rules.")
    return _read(row)


def history(session: Session, *, limit: int = 50, before: int | None = None) -> list[Rulebook]:
    """Versions, newest first."""
    rows = session.execute(
        "SELECT * FROM rulebook WHERE %(before)s::integer IS NULL OR version < %(before)s "
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

    Raises `InvalidInput` for a rule that is on and forwards to a destination that is not there.
    """
    _check_destinations(session, changed)
    try:
        with session.transaction():
            row = session.execute(
                """
                INSERT INTO rulebook (tenant_id, version, rules, author, note)
                SELECT current_tenant(), %(based_on)s + 1, %(rules)s, %(actor)s, %(note)s
                WHERE %(based_on)s = (SELECT coalesce(max(version), 0) FROM rulebook)
                RETURNING *
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
    early = {Trigger.INSTANCE_RECEIVED, Trigger.SERIES_STABLE}
    wanted = any(rule.enabled and rule.trigger in early for rule in changed)
    studies.watch_arrivals(session, "routing", wanted=wanted)
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


def _check_destinations(session: Session, rules: Sequence[RuleDocument]) -> None:
    known = {row["name"] for row in session.execute("SELECT name FROM destination")}
    for rule in rules:
        for step in rule.actions:
            name = step.settings.get("to")
            if rule.enabled and step.action == "forward" and name not in known:
                cure = "add it first, or choose another."
                raise InvalidInput(f"{rule.name}: there is no destination {name!r}; {cure}")


def _read(row: Row) -> Rulebook:
    return Rulebook(
        row["version"],
        parse_rules(row["rules"]),
        row["author"],
        row["note"],
        row["created_at"],
    )
