"""Where studies can go: typed settings, and the rows that hold them.

All functions take a tenant's session (`Database.tenant_session`) and see that tenant's rows alone.
Passwords and tokens are sealed in the rows and in what is read of them; who connects opens them
by `open_settings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import psycopg.errors
from psycopg.types.json import Jsonb

from extensions.routing import rulebook
from extensions.routing.destination_settings import (
    SECRET_FIELDS,
    DestinationSettings,
    Kind,
    dump_settings,
    parse_settings,
    with_secrets,
)
from extensions.routing.rules import editing
from extensions.routing.sending import line
from extensions.routing.sending.limits import Limits, parse_limits
from gateway import audit, jobs, vault
from gateway.db import Row, Session
from gateway.errors import Conflict, GatewayError, InvalidInput, NotFound

type Change = Literal["create-destination", "change-destination", "delete-destination"]


class NoSuchDestination(GatewayError):
    """A rule forwards to a destination that does not exist.

    Add a destination of that name, or change the rule; then release the study.
    """


@dataclass(frozen=True)
class Destination:
    """A PACS or archive that takes studies. `enabled` false: deliveries wait.

    `failures` counts the times in a row that it could not be reached, for `last_error`; nobody
    tries it again for `retry_in_s`.
    """

    destination_id: int
    name: str
    settings: DestinationSettings
    enabled: bool
    limits: Limits = field(default_factory=Limits)
    failures: int = 0
    retry_at: datetime | None = None
    retry_in_s: float = 0.0
    last_error: str | None = None

    @property
    def kind(self) -> Kind:
        """``dimse`` (C-STORE), ``dicomweb`` (STOW-RS), ``folder`` or ``s3``."""
        return self.settings.kind

    @property
    def address(self) -> str:
        """Where it is, for people."""
        return self.settings.address


# The database's clock decides: ours may differ.
_COLUMNS = "*, greatest(0, coalesce(extract(epoch FROM retry_at - now()), 0)) AS retry_in_s"


def list_destinations(session: Session) -> list[Destination]:
    """Every destination, by name."""
    rows = session.execute(f"SELECT {_COLUMNS} FROM destination ORDER BY name")  # noqa: S608  ours
    return [_read(row) for row in rows]


def get_destination(session: Session, destination_id: int) -> Destination:
    """One destination; raises `NotFound`."""
    row = session.execute(
        f"SELECT {_COLUMNS} FROM destination WHERE destination_id = %s",  # noqa: S608  ours
        [destination_id],
    ).fetchone()
    if row is None:
        raise NotFound(f"Destination {destination_id}.")
    return _read(row)


def named(session: Session, name: str) -> Destination:
    """The destination of that name; raises `NoSuchDestination`."""
    row = session.execute(
        f"SELECT {_COLUMNS} FROM destination WHERE name = %s",  # noqa: S608  ours
        [name],
    ).fetchone()
    if row is None:
        raise NoSuchDestination(repr(name))
    return _read(row)


def open_settings(destination: Destination, encryption_key: str) -> DestinationSettings:
    """The settings with which to connect; raises `SecretUnreadable`."""
    return with_secrets(destination.settings, lambda sealed: vault.unseal(encryption_key, sealed))


def create_destination(
    session: Session,
    *,
    name: str,
    kind: str,
    settings: Mapping[str, Any],
    limits: Mapping[str, Any] | None = None,
    enabled: bool = True,
    encryption_key: str = "",
    actor: str,
    origin: str = "",
) -> Destination:
    """Add a destination; raises `InvalidInput` naming the field, or `Conflict`.

    Without `encryption_key` it can have no secret (`InvalidSettings`).
    """
    name, parsed = _name(name), _sealed(parse_settings(kind, settings), encryption_key)
    bounds = parse_limits(limits or {})
    try:
        with session.transaction():
            row = session.execute(
                "INSERT INTO destination (tenant_id, name, kind, settings, limits, enabled) "
                "VALUES (current_tenant(), %s, %s, %s, %s, %s) RETURNING destination_id",
                [
                    name,
                    parsed.kind,
                    Jsonb(dump_settings(parsed)),
                    Jsonb(bounds.model_dump()),
                    enabled,
                ],
            ).fetchone()
    except psycopg.errors.UniqueViolation as error:
        raise Conflict(f"A destination named {name!r}.") from error
    assert row is not None
    _audit(session, "create-destination", name, actor, origin, parsed.address)
    return get_destination(session, row["destination_id"])


def update_destination(
    session: Session,
    destination_id: int,
    *,
    name: str,
    kind: str,
    settings: Mapping[str, Any],
    limits: Mapping[str, Any] | None = None,
    enabled: bool,
    encryption_key: str = "",
    actor: str,
    origin: str = "",
) -> Destination:
    """Change a destination; what waits for it is tried now.

    A secret left empty stays, and so do limits that are not given. Raises `NotFound` and what
    creating raises.
    """
    before = get_destination(session, destination_id)
    name = _name(name)
    given = _with_kept_secrets(before, kind, settings, encryption_key)
    parsed = _sealed(parse_settings(kind, given), encryption_key)
    bounds = before.limits if limits is None else parse_limits(limits)
    try:
        with session.transaction():
            row = session.execute(
                "UPDATE destination SET name = %s, kind = %s, settings = %s, limits = %s, "
                "enabled = %s, failures = 0, retry_at = NULL, last_error = NULL "
                "WHERE destination_id = %s RETURNING destination_id",
                [
                    name,
                    parsed.kind,
                    Jsonb(dump_settings(parsed)),
                    Jsonb(bounds.model_dump()),
                    enabled,
                    destination_id,
                ],
            ).fetchone()
    except psycopg.errors.UniqueViolation as error:
        raise Conflict(f"A destination named {name!r}.") from error
    if row is None:
        raise NotFound(f"Destination {destination_id}.")
    if name != before.name:
        _rename_in_rules(session, before.name, name, actor, origin)
    line.call_next(session, destination_id)
    _audit(session, "change-destination", name, actor, origin, parsed.address)
    return get_destination(session, destination_id)


def set_enabled(
    session: Session, destination_id: int, *, enabled: bool, actor: str, origin: str = ""
) -> None:
    """Pause a destination, or go on: what waits goes at once. Raises `NotFound`."""
    destination = get_destination(session, destination_id)
    session.execute(
        "UPDATE destination SET enabled = %s, retry_at = NULL WHERE destination_id = %s",
        [enabled, destination_id],
    )
    line.call_next(session, destination_id)
    detail = "goes on" if enabled else "paused"
    _audit(session, "change-destination", destination.name, actor, origin, detail)


def delete_destination(
    session: Session, destination_id: int, *, actor: str, origin: str = ""
) -> None:
    """Remove a destination that no rule uses; what was not delivered to it fails."""
    destination = get_destination(session, destination_id)
    used_by = editing.forwarding_to(rulebook.live(session).rules, destination.name)
    if used_by:
        raise Conflict(f"Rule {used_by[0]!r} forwards to {destination.name!r}; change that rule.")
    line.lock(session, destination_id)
    session.execute(
        "WITH ours AS (SELECT delivery_id FROM delivery WHERE destination_id = %s "
        "ORDER BY delivery_id FOR NO KEY UPDATE) "  # as ledger.lock does
        "UPDATE delivery_instance i SET state = 'failed', cause = %s, updated_at = now() "
        "FROM ours WHERE i.delivery_id = ours.delivery_id AND i.state IN ('planned', 'sending')",
        [destination_id, "The destination was removed."],
    )
    waiting = {"destination_id": destination_id}
    jobs.call_off(session, extension="routing", task="deliver", arguments=waiting)
    session.execute("DELETE FROM destination WHERE destination_id = %s", [destination_id])
    _audit(session, "delete-destination", destination.name, actor, origin, destination.address)


def _read(row: Row) -> Destination:
    settings = parse_settings(row["kind"], row["settings"])
    return Destination(
        row["destination_id"],
        row["name"],
        settings,
        row["enabled"],
        parse_limits(row["limits"]),
        row["failures"],
        row["retry_at"],
        float(row["retry_in_s"]),
        row["last_error"],
    )


def _rename_in_rules(session: Session, before: str, after: str, actor: str, origin: str) -> None:
    book = rulebook.live(session)
    if editing.forwarding_to(book.rules, before):
        rulebook.save(
            session,
            editing.redirected(book.rules, before, after),
            based_on=book.version,
            note=f"The destination {before} is now called {after}",
            actor=actor,
            origin=origin,
        )


def _name(name: str) -> str:
    name = name.strip()
    if not 1 <= len(name) <= 64:
        raise InvalidInput("name: 1 to 64 characters.")
    return name


def _sealed(settings: DestinationSettings, encryption_key: str) -> DestinationSettings:
    return with_secrets(settings, lambda secret: vault.seal(encryption_key, secret))


def _with_kept_secrets(
    before: Destination, kind: str, settings: Mapping[str, Any], encryption_key: str
) -> dict[str, Any]:
    given = dict(settings)
    stored = dump_settings(before.settings)
    if kind == before.kind and given.get("url", "") == stored.get("url"):
        # Forms do not show secrets. Never keep one for another address: that would hand it out.
        for name in set(SECRET_FIELDS) & set(stored):
            given[name] = given.get(name) or vault.unseal(encryption_key, stored[name])
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
