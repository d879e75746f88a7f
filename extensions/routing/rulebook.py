"""The rows that hold a tenant's rules. All functions take a tenant's session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import psycopg.errors
from psycopg.types.json import Jsonb

from extensions.routing.rules import Condition, parse_conditions
from gateway import audit
from gateway.db import Row, Session
from gateway.errors import Conflict, InvalidInput, NotFound

type Change = Literal["create-rule", "change-rule", "delete-rule"]


@dataclass(frozen=True)
class Rule:
    """If a study meets `conditions`, it is forwarded to the destination."""

    rule_id: int
    name: str
    enabled: bool
    conditions: tuple[Condition, ...]
    destination_id: int
    destination_name: str


_RULES = (
    "SELECT r.*, d.name AS destination_name "
    "FROM routing_rule r JOIN destination d USING (destination_id) "
)


def list_rules(session: Session, *, enabled_only: bool = False) -> list[Rule]:
    """Every rule, or those that are switched on, by name."""
    rows = session.execute(_RULES + "WHERE r.enabled OR NOT %s ORDER BY r.name", [enabled_only])
    return [_read(row) for row in rows]


def get_rule(session: Session, rule_id: int) -> Rule:
    """One rule; raises `NotFound`."""
    row = session.execute(_RULES + "WHERE r.rule_id = %s", [rule_id]).fetchone()
    if row is None:
        raise NotFound(f"Rule {rule_id}.")
    return _read(row)


def create_rule(
    session: Session,
    *,
    name: str,
    conditions: Sequence[Mapping[str, Any]],
    destination_id: int,
    enabled: bool = True,
    actor: str,
    origin: str = "",
) -> Rule:
    """Add a rule; raises `InvalidInput` naming the place and the cure, or `Conflict`."""
    return _write(
        session,
        "INSERT INTO routing_rule (tenant_id, name, conditions, destination_id, enabled) "
        "VALUES (current_tenant(), %(name)s, %(conditions)s, %(destination)s, %(enabled)s) "
        "RETURNING rule_id",
        _checked(name, conditions, destination_id, enabled),
        "create-rule",
        actor,
        origin,
    )


def update_rule(
    session: Session,
    rule_id: int,
    *,
    name: str,
    conditions: Sequence[Mapping[str, Any]],
    destination_id: int,
    enabled: bool,
    actor: str,
    origin: str = "",
) -> Rule:
    """Change a rule; raises `NotFound`, and as creating does."""
    return _write(
        session,
        "UPDATE routing_rule SET name = %(name)s, conditions = %(conditions)s, "
        "destination_id = %(destination)s, enabled = %(enabled)s "
        "WHERE rule_id = %(rule)s RETURNING rule_id",
        {"rule": rule_id, **_checked(name, conditions, destination_id, enabled)},
        "change-rule",
        actor,
        origin,
    )


def delete_rule(session: Session, rule_id: int, *, actor: str, origin: str = "") -> None:
    """Remove a rule; what it has planned already is still delivered."""
    rule = get_rule(session, rule_id)
    session.execute("DELETE FROM routing_rule WHERE rule_id = %s", [rule_id])
    _audit(session, "delete-rule", rule, actor, origin)


def _checked(
    name: str, conditions: Sequence[Mapping[str, Any]], destination_id: int, enabled: bool
) -> dict[str, Any]:
    name = name.strip()
    if not 1 <= len(name) <= 64:
        raise InvalidInput("name: 1 to 64 characters.")
    return {
        "name": name,
        "conditions": Jsonb([c.as_json() for c in parse_conditions(conditions)]),
        "destination": destination_id,
        "enabled": enabled,
    }


def _write(
    session: Session,
    statement: str,
    values: dict[str, Any],
    action: Change,
    actor: str,
    origin: str,
) -> Rule:
    try:
        with session.transaction():
            row = session.execute(statement, values).fetchone()
    except psycopg.errors.UniqueViolation as error:
        raise Conflict(f"A rule named {values['name']!r}.") from error
    except psycopg.errors.ForeignKeyViolation as error:
        raise InvalidInput("destination: there is no such destination; choose one.") from error
    if row is None:
        raise NotFound(f"Rule {values.get('rule')}.")
    rule = get_rule(session, row["rule_id"])
    _audit(session, action, rule, actor, origin)
    return rule


def _audit(session: Session, action: Change, rule: Rule, actor: str, origin: str) -> None:
    tenant = session.execute("SELECT current_tenant() AS id").fetchone()
    # The kinds of condition, not their values: a rule may name a patient.
    tags = ", ".join(f"{c.tag} {c.operator}" for c in rule.conditions) or "every study"
    record = audit.Record(
        actor=actor,
        action=action,
        resource=f"rule {rule.name}",
        verdict="allowed",
        tenant_id=tenant["id"] if tenant else None,
        origin=origin,
        detail=f"{tags} to {rule.destination_name}, {'on' if rule.enabled else 'off'}",
    )
    audit.append(session, record)


def _read(row: Row) -> Rule:
    conditions = tuple(parse_conditions(row["conditions"]))
    return Rule(
        row["rule_id"],
        row["name"],
        row["enabled"],
        conditions,
        row["destination_id"],
        row["destination_name"],
    )
