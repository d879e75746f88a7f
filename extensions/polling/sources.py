"""Where studies are fetched from: the rows that hold the settings, and their changes.

All functions take a tenant's session (`Database.tenant_session`) and see that tenant's rows alone.
Passwords and tokens are sealed in the rows; who connects opens them by `open_settings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg.errors
from psycopg.types.json import Jsonb

from extensions.polling.source_settings import (
    SECRET_FIELDS,
    DimseSource,
    Kind,
    SourceSettings,
    dump_settings,
    parse_settings,
    with_secrets,
)
from gateway import audit, vault
from gateway.db import Row, Session
from gateway.errors import Conflict, InvalidInput, NotFound


@dataclass(frozen=True)
class Source:
    """One source. `failures` counts its runs in a row that failed, for `last_error`."""

    source_id: int
    tenant_id: str
    name: str
    settings: SourceSettings
    enabled: bool
    is_running: bool
    hurried: bool
    next_run_at: datetime
    last_run_at: datetime | None
    last_told: str
    failures: int
    last_error: str | None

    @property
    def kind(self) -> Kind:
        """``dicomweb``, ``dimse`` or ``folder``."""
        return self.settings.kind

    @property
    def address(self) -> str:
        """Where it is, for people."""
        return self.settings.address + (self.tenant_id if self.kind == "folder" else "")


COLUMNS = "*, coalesce(lease_until > now(), false) AS is_running"


def list_sources(session: Session) -> list[Source]:
    """Every source, by name."""
    rows = session.execute(f"SELECT {COLUMNS} FROM polling_source ORDER BY name")  # noqa: S608  ours
    return [read(row) for row in rows]


def get_source(session: Session, source_id: int) -> Source:
    """One source; raises `NotFound`."""
    row = session.execute(
        f"SELECT {COLUMNS} FROM polling_source WHERE source_id = %s",  # noqa: S608  ours
        [source_id],
    ).fetchone()
    if row is None:
        raise NotFound(f"Source {source_id}.")
    return read(row)


def open_settings(source: Source, encryption_key: str) -> SourceSettings:
    """The settings with which to connect; raises `SecretUnreadable`."""
    return with_secrets(source.settings, lambda sealed: vault.unseal(encryption_key, sealed))


def create_source(
    session: Session,
    *,
    name: str,
    kind: str,
    settings: Mapping[str, Any],
    enabled: bool = True,
    encryption_key: str = "",
    actor: str,
    origin: str = "",
) -> Source:
    """Add a source; raises `InvalidInput` naming the field, or `Conflict`."""
    name, parsed = _name(name), _checked(session, kind, settings)
    try:
        with session.transaction():
            row = session.execute(
                "INSERT INTO polling_source (tenant_id, name, kind, settings, enabled) "
                "VALUES (current_tenant(), %s, %s, %s, %s) RETURNING source_id",
                [name, parsed.kind, _sealed(parsed, encryption_key), enabled],
            ).fetchone()
    except psycopg.errors.UniqueViolation as error:
        raise _conflict(error, name) from error
    assert row is not None
    _audit(session, "create-source", name, actor, origin, parsed.address)
    return get_source(session, row["source_id"])


def update_source(
    session: Session,
    source_id: int,
    *,
    name: str,
    kind: str,
    settings: Mapping[str, Any],
    enabled: bool,
    encryption_key: str = "",
    actor: str,
    origin: str = "",
) -> Source:
    """Change a source, which is then asked anew; a run of it stops.

    A secret left empty stays while the address does. Of another address nothing is remembered.
    Raises `NotFound`, and as creating does.
    """
    before = get_source(session, source_id)
    given = _with_kept_secrets(before, kind, settings, encryption_key)
    name, parsed = _name(name), _checked(session, kind, given)
    try:
        with session.transaction():
            session.execute(
                "UPDATE polling_source SET name = %s, kind = %s, settings = %s, enabled = %s, "
                "failures = 0, last_error = NULL, holder = NULL, lease_until = NULL, "
                "next_run_at = now() WHERE source_id = %s",
                [name, parsed.kind, _sealed(parsed, encryption_key), enabled, source_id],
            )
    except psycopg.errors.UniqueViolation as error:
        raise _conflict(error, name) from error
    if parsed.address != before.settings.address:
        session.execute("DELETE FROM polling_study WHERE source_id = %s", [source_id])
    _audit(session, "change-source", name, actor, origin, parsed.address)
    return get_source(session, source_id)


def switch_source(
    session: Session, source_id: int, *, enabled: bool, actor: str, origin: str = ""
) -> None:
    """Pause a source, which stops a run of it within seconds, or resume it."""
    source = get_source(session, source_id)
    session.execute(
        "UPDATE polling_source SET enabled = %s WHERE source_id = %s", [enabled, source_id]
    )
    action = "resume-source" if enabled else "pause-source"
    _audit(session, action, source.name, actor, origin, source.settings.address)


def hurry_source(session: Session, source_id: int, *, actor: str, origin: str = "") -> None:
    """Run it now, whatever the window says, and try again what failed."""
    source = get_source(session, source_id)
    session.execute(
        "UPDATE polling_source SET next_run_at = now(), hurried = true WHERE source_id = %s",
        [source_id],
    )
    session.execute(
        "UPDATE polling_study SET next_try_at = now() WHERE source_id = %s AND failures > 0",
        [source_id],
    )
    _audit(session, "run-source", source.name, actor, origin, source.settings.address)


def delete_source(session: Session, source_id: int, *, actor: str, origin: str = "") -> None:
    """Remove a source and what is remembered of it; retrieved studies stay."""
    source = get_source(session, source_id)
    session.execute("DELETE FROM polling_source WHERE source_id = %s", [source_id])
    _audit(session, "delete-source", source.name, actor, origin, source.settings.address)


def require_own_delivery(session: Session, settings: SourceSettings) -> None:
    """Raise `InvalidInput` if a C-MOVE would deliver to another tenant than the session's."""
    if isinstance(settings, DimseSource):
        rows = session.execute("SELECT ae_title FROM called_ae_title ORDER BY ae_title")
        ours = [row["ae_title"] for row in rows]
        if settings.deliver_to not in ours:
            raise InvalidInput(f"deliver_to: use an AE title of this tenant: {', '.join(ours)}.")


def read(row: Row) -> Source:
    """A source from its row (`COLUMNS`)."""
    return Source(
        source_id=row["source_id"],
        tenant_id=row["tenant_id"],
        name=row["name"],
        settings=parse_settings(row["kind"], row["settings"]),
        enabled=row["enabled"],
        is_running=row["is_running"],
        hurried=row["hurried"],
        next_run_at=row["next_run_at"],
        last_run_at=row["last_run_at"],
        last_told=row["last_told"],
        failures=row["failures"],
        last_error=row["last_error"],
    )


def _name(name: str) -> str:
    name = name.strip()
    if not 1 <= len(name) <= 64:
        raise InvalidInput("name: 1 to 64 characters.")
    return name


def _checked(session: Session, kind: str, settings: Mapping[str, Any]) -> SourceSettings:
    parsed = parse_settings(kind, settings)
    require_own_delivery(session, parsed)
    return parsed


def _sealed(settings: SourceSettings, encryption_key: str) -> Jsonb:
    sealed = with_secrets(settings, lambda secret: vault.seal(encryption_key, secret))
    return Jsonb(dump_settings(sealed))


def _with_kept_secrets(
    before: Source, kind: str, settings: Mapping[str, Any], encryption_key: str
) -> dict[str, Any]:
    given = dict(settings)
    if kind == before.kind == "dicomweb" and given.get("url", "") == before.address:
        # Forms do not show secrets. Never keep one for another address: that would hand it out.
        stored = dump_settings(before.settings)
        if not any(given.get(field) for field in SECRET_FIELDS):
            for field in SECRET_FIELDS:
                given[field] = vault.unseal(encryption_key, stored.get(field, ""))
    return given


def _conflict(error: psycopg.errors.UniqueViolation, name: str) -> Conflict:
    if error.diag.constraint_name == "polling_source_folder":
        return Conflict("The watched folder of this tenant; there is one.")
    return Conflict(f"A source named {name!r}.")


def _audit(session: Session, action: str, name: str, actor: str, origin: str, detail: str) -> None:
    row = session.execute("SELECT current_tenant() AS id").fetchone()
    tenant_id = row["id"] if row else None
    record = audit.Record(actor, action, f"source {name}", "allowed", tenant_id, origin, detail)
    audit.append(session, record)
