"""Where studies can go: typed settings, and the rows that hold them.

All functions take a tenant's session (`Database.tenant_session`) and see that tenant's rows alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import psycopg.errors
from psycopg.types.json import Jsonb

from extensions.routing.destination_settings import (
    SECRET_FIELDS,
    DestinationSettings,
    Kind,
    dump_settings,
    parse_settings,
)
from gateway import audit, jobs
from gateway.db import Row, Session
from gateway.errors import Conflict, InvalidInput, NotFound

type Change = Literal["create-destination", "change-destination", "delete-destination"]


@dataclass(frozen=True)
class Destination:
    """A PACS or archive that takes studies. `enabled` false: deliveries wait.

    `failures` counts the times in a row that it could not be reached, for `last_error`; it is
    tried again at `retry_at`.
    """

    destination_id: int
    name: str
    settings: DestinationSettings
    enabled: bool
    failures: int = 0
    retry_at: datetime | None = None
    last_error: str | None = None

    @property
    def retry_in_s(self) -> float:
        """How long nobody tries to reach it yet."""
        if self.retry_at is None:
            return 0.0
        return max(0.0, (self.retry_at - datetime.now(UTC)).total_seconds())

    @property
    def kind(self) -> Kind:
        """``dimse`` (C-STORE) or ``dicomweb`` (STOW-RS)."""
        return self.settings.kind

    @property
    def address(self) -> str:
        """Where it is, for people."""
        return self.settings.address


def list_destinations(session: Session) -> list[Destination]:
    """Every destination, by name."""
    return [_read(row) for row in session.execute("SELECT * FROM destination ORDER BY name")]


def get_destination(session: Session, destination_id: int) -> Destination:
    """One destination; raises `NotFound`."""
    row = session.execute(
        "SELECT * FROM destination WHERE destination_id = %s", [destination_id]
    ).fetchone()
    if row is None:
        raise NotFound(f"Destination {destination_id}.")
    return _read(row)


def create_destination(
    session: Session,
    *,
    name: str,
    kind: str,
    settings: Mapping[str, Any],
    enabled: bool = True,
    actor: str,
    origin: str = "",
) -> Destination:
    """Add a destination; raises `InvalidInput` naming the field, or `Conflict`."""
    name, parsed = _name(name), parse_settings(kind, settings)
    try:
        with session.transaction():
            row = session.execute(
                "INSERT INTO destination (tenant_id, name, kind, settings, enabled) "
                "VALUES (current_tenant(), %s, %s, %s, %s) RETURNING *",
                [name, parsed.kind, Jsonb(dump_settings(parsed)), enabled],
            ).fetchone()
    except psycopg.errors.UniqueViolation as error:
        raise Conflict(f"A destination named {name!r}.") from error
    assert row is not None
    _audit(session, "create-destination", name, actor, origin, parsed.address)
    return _read(row)


def update_destination(
    session: Session,
    destination_id: int,
    *,
    name: str,
    kind: str,
    settings: Mapping[str, Any],
    enabled: bool,
    actor: str,
    origin: str = "",
) -> Destination:
    """Change a destination. A secret left empty stays; raises `NotFound` and as creating does."""
    before = get_destination(session, destination_id)
    name = _name(name)
    parsed = parse_settings(kind, _with_kept_secrets(before, kind, settings))
    try:
        with session.transaction():
            row = session.execute(
                "UPDATE destination SET name = %s, kind = %s, settings = %s, enabled = %s, "
                "failures = 0, retry_at = NULL, last_error = NULL "
                "WHERE destination_id = %s RETURNING *",
                [name, parsed.kind, Jsonb(dump_settings(parsed)), enabled, destination_id],
            ).fetchone()
    except psycopg.errors.UniqueViolation as error:
        raise Conflict(f"A destination named {name!r}.") from error
    if row is None:
        raise NotFound(f"Destination {destination_id}.")
    jobs.hurry(session, extension="routing", task="deliver")
    _audit(session, "change-destination", name, actor, origin, parsed.address)
    return _read(row)


def delete_destination(
    session: Session, destination_id: int, *, actor: str, origin: str = ""
) -> None:
    """Remove a destination that no rule uses; what was not delivered to it fails."""
    destination = get_destination(session, destination_id)
    try:
        with session.transaction():
            session.execute("DELETE FROM destination WHERE destination_id = %s", [destination_id])
    except psycopg.errors.ForeignKeyViolation as error:
        raise Conflict(f"A rule forwards to {destination.name!r}; change that rule.") from error
    _audit(session, "delete-destination", destination.name, actor, origin, destination.address)


def _read(row: Row) -> Destination:
    settings = parse_settings(row["kind"], row["settings"])
    return Destination(
        row["destination_id"],
        row["name"],
        settings,
        row["enabled"],
        row["failures"],
        row["retry_at"],
        row["last_error"],
    )


def _name(name: str) -> str:
    name = name.strip()
    if not 1 <= len(name) <= 64:
        raise InvalidInput("name: 1 to 64 characters.")
    return name


def _with_kept_secrets(
    before: Destination, kind: str, settings: Mapping[str, Any]
) -> dict[str, Any]:
    given = dict(settings)
    if kind == before.kind and given.get("url", "") == before.address:
        # Forms do not show secrets. Never keep one for another address: that would hand it out.
        stored = dump_settings(before.settings)
        for field in SECRET_FIELDS:
            given[field] = given.get(field) or stored.get(field, "")
    return given


def _audit(
    session: Session, action: Change, name: str, actor: str, origin: str, detail: str
) -> None:
    tenant = session.execute("SELECT current_tenant() AS id").fetchone()
    record = audit.Record(
        actor=actor,
        action=action,
        resource=f"destination {name}",
        verdict="allowed",
        tenant_id=tenant["id"] if tenant else None,
        origin=origin,
        detail=detail,
    )
    audit.append(session, record)
