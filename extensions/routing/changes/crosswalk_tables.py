"""The tables of a tenant by which values are replaced, and their rows.

All functions take a tenant's session. Keys name patients: neither they nor values are ever part of
an audit record or an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import psycopg.errors
from psycopg.types.json import Jsonb

from extensions.routing.changes.crosswalk_csv import Rows, problem_of
from extensions.routing.changes.crosswalk_sources import (
    NAME,
    CsvSource,
    Source,
    TableSource,
    parse_source,
)
from gateway import audit, jobs, vault
from gateway.db import Row, Session
from gateway.errors import Conflict, InvalidInput, NotFound

type Action = Literal[
    "create-crosswalk", "change-crosswalk", "delete-crosswalk", "import-crosswalk"
]


@dataclass(frozen=True)
class Table:
    """A table; `version` grows with each import that changes a row."""

    crosswalk_id: int
    name: str
    source: Source
    version: int
    sync_run: int
    synced_at: datetime | None
    last_error: str | None


@dataclass(frozen=True)
class By:
    """Who does it, for the audit."""

    actor: str
    origin: str = ""


def list_tables(session: Session) -> list[Table]:
    """Every table, by name."""
    return [_read(row) for row in session.execute("SELECT * FROM crosswalk ORDER BY name")]


def get_table(session: Session, name: str) -> Table:
    """One table by its name; raises `NotFound`."""
    row = session.execute("SELECT * FROM crosswalk WHERE name = %s", [name]).fetchone()
    if row is None:
        raise NotFound(f"Crosswalk table {name!r}.")
    return _read(row)


def create_table(
    session: Session,
    *,
    name: str,
    kind: str,
    settings: Mapping[str, Any],
    encryption_key: str = "",
    by: By,
) -> Table:
    """Add a table; raises `InvalidInput` naming the field, or `Conflict`.

    Without `encryption_key` it can have no token (`InvalidSettings`).
    """
    if not re.fullmatch(NAME, name):
        raise InvalidInput("name: 1 to 32 of small letters, digits, '-' and '_'.")
    source = _sealed(parse_source(kind, settings), encryption_key)
    try:
        with session.transaction():
            session.execute(
                "INSERT INTO crosswalk (tenant_id, name, kind, settings) "
                "VALUES (current_tenant(), %s, %s, %s)",
                [name, kind, _settings(source)],
            )
    except psycopg.errors.UniqueViolation as error:
        raise Conflict(f"A crosswalk table named {name!r}.") from error
    _audit(session, "create-crosswalk", name, by, kind)
    _synchronize(session, name)
    return get_table(session, name)


def update_table(
    session: Session, name: str, *, settings: Mapping[str, Any], encryption_key: str = "", by: By
) -> Table:
    """Change a table's source. A token left empty stays while the URL does; raises `NotFound`."""
    before = get_table(session, name)
    given = dict(settings)
    if not isinstance(before.source, TableSource) and given.get("url") == before.source.url:
        # Never for another address: that would hand it out.
        given["token"] = given.get("token") or vault.unseal(encryption_key, before.source.token)
    source = _sealed(parse_source(before.source.kind, given), encryption_key)
    session.execute(
        "UPDATE crosswalk SET settings = %s, last_error = NULL WHERE crosswalk_id = %s",
        [_settings(source), before.crosswalk_id],
    )
    _audit(session, "change-crosswalk", name, by, before.source.kind)
    _synchronize(session, name)
    return get_table(session, name)


def delete_table(session: Session, name: str, *, by: By) -> None:
    """Remove a table with all its versions; the portal asks first whether a rule looks up there."""
    table = get_table(session, name)
    session.execute("DELETE FROM crosswalk WHERE crosswalk_id = %s", [table.crosswalk_id])
    _audit(session, "delete-crosswalk", name, by, table.source.kind)


def import_rows(session: Session, name: str, rows: Rows, *, by: By) -> int:
    """Let the table hold these rows alone; its version, which grows if anything changed."""
    version = write_rows(session, get_table(session, name), rows, complete=True)
    note_import(session, name, len(rows), version, by=by)
    return version


def note_import(session: Session, name: str, rows: int, version: int, *, by: By) -> None:
    """Audit an import that was made by `write_rows`."""
    _audit(session, "import-crosswalk", name, by, f"{rows} rows, version {version}")


def put_row(session: Session, name: str, key: str, values: dict[str, str], *, by: By) -> int:
    """Add or change one row; raises `InvalidInput`."""
    if problem := problem_of(key.strip(), values):
        raise InvalidInput(f"row: {problem}.")
    version = write_rows(session, get_table(session, name), {key.strip(): values}, complete=False)
    note_import(session, name, 1, version, by=by)
    return version


def remove_row(session: Session, name: str, key: str, *, by: By) -> int:
    """Remove one row; raises `NotFound`, without the key."""
    if not _end_row(session, get_table(session, name), key.strip()):
        raise NotFound(f"A row of this key in {name!r}.")
    version = get_table(session, name).version
    _audit(session, "import-crosswalk", name, by, f"one row removed, version {version}")
    return version


def write_rows(session: Session, table: Table, rows: Rows, *, complete: bool) -> int:
    """Write rows; `complete`: those that are not among them end. The version that holds them."""
    found = session.execute(
        "SELECT version FROM crosswalk WHERE crosswalk_id = %s FOR UPDATE", [table.crosswalk_id]
    ).fetchone()
    if found is None:
        raise NotFound(f"Crosswalk table {table.name!r}.")
    given = {
        "table": table.crosswalk_id,
        "version": found["version"] + 1,
        "complete": complete,
        "keys": list(rows),
        "values": [json.dumps(values) for values in rows.values()],
    }
    ended = session.execute(
        """
        UPDATE crosswalk_row r SET until = %(version)s
        WHERE crosswalk_id = %(table)s AND until IS NULL AND (%(complete)s OR key = ANY(%(keys)s))
        AND NOT EXISTS (
            SELECT FROM unnest(%(keys)s::text[], %(values)s::text[]) AS given (key, columns)
            WHERE given.key = r.key AND given.columns::jsonb = r.columns)
        """,
        given,
    )
    added = session.execute(
        """
        INSERT INTO crosswalk_row (crosswalk_id, tenant_id, key, columns, since)
        SELECT %(table)s, current_tenant(), given.key, given.columns::jsonb, %(version)s
        FROM unnest(%(keys)s::text[], %(values)s::text[]) AS given (key, columns)
        WHERE NOT EXISTS (
            SELECT FROM crosswalk_row r
            WHERE r.crosswalk_id = %(table)s AND r.until IS NULL AND r.key = given.key)
        """,
        given,
    )
    if ended.rowcount + added.rowcount == 0:
        return int(found["version"])
    session.execute(
        "UPDATE crosswalk SET version = %(version)s WHERE crosswalk_id = %(table)s", given
    )
    return int(given["version"])


def find_rows(
    session: Session, table: Table, keys: Iterable[str], *, newer_than_s: float | None = None
) -> Rows:
    """The rows of these keys in the table's `version`; `newer_than_s`: asked for since then."""
    rows = session.execute(
        """
        SELECT key, columns FROM crosswalk_row
        WHERE crosswalk_id = %s AND key = ANY(%s) AND since <= %s AND (until IS NULL OR until > %s)
        AND (%s::float IS NULL OR fetched_at > now() - make_interval(secs => %s))
        """,
        [table.crosswalk_id, list(keys), table.version, table.version, newer_than_s, newer_than_s],
    )
    return {row["key"]: row["columns"] for row in rows}


def first_rows(session: Session, table: Table, *, beginning: str = "", limit: int) -> Rows:
    """The rows that hold now, by key; only those whose keys begin so."""
    rows = session.execute(
        "SELECT key, columns FROM crosswalk_row WHERE crosswalk_id = %s AND until IS NULL "
        "AND starts_with(key, %s) ORDER BY key LIMIT %s",
        [table.crosswalk_id, beginning, limit],
    )
    return {row["key"]: row["columns"] for row in rows}


def count_rows(session: Session) -> dict[str, int]:
    """How many rows each table has now, by its name."""
    rows = session.execute(
        "SELECT name, (SELECT count(*) FROM crosswalk_row r WHERE r.crosswalk_id = c.crosswalk_id "
        "AND until IS NULL) AS n FROM crosswalk c"
    )
    return {row["name"]: row["n"] for row in rows}


def note_answer(session: Session, table: Table, key: str, values: dict[str, str] | None) -> None:
    """Keep what a service has answered to a key just now; None: it does not know it."""
    if values is None:
        _end_row(session, table, key)
        return
    write_rows(session, table, {key: values}, complete=False)
    session.execute(
        "UPDATE crosswalk_row SET fetched_at = now() "
        "WHERE crosswalk_id = %s AND key = %s AND until IS NULL",
        [table.crosswalk_id, key],
    )


def schedule(session: Session, table: Table, *, delay_s: float) -> None:
    """Let the table be synchronized once after a while; a run that was planned before is void."""
    row = session.execute(
        "UPDATE crosswalk SET sync_run = sync_run + 1 WHERE crosswalk_id = %s "
        "RETURNING sync_run, tenant_id",
        [table.crosswalk_id],
    ).fetchone()
    if row is None:
        return
    jobs.enqueue(
        session,
        tenant_id=row["tenant_id"],
        extension="routing",
        task="sync_crosswalk",
        arguments={"name": table.name, "run": row["sync_run"]},
        unique_key=f"crosswalk {table.crosswalk_id} {row['sync_run']}",
        delay_s=delay_s,
    )


def _end_row(session: Session, table: Table, key: str) -> bool:
    # Locked first, as in `write_rows`: two changes never make the same version.
    session.execute(
        "SELECT FROM crosswalk WHERE crosswalk_id = %s FOR UPDATE", [table.crosswalk_id]
    )
    ended = session.execute(
        "UPDATE crosswalk_row r SET until = c.version + 1 FROM crosswalk c "
        "WHERE c.crosswalk_id = %s AND r.crosswalk_id = c.crosswalk_id "
        "AND r.key = %s AND r.until IS NULL",
        [table.crosswalk_id, key],
    )
    if ended.rowcount:
        session.execute(
            "UPDATE crosswalk SET version = version + 1 WHERE crosswalk_id = %s",
            [table.crosswalk_id],
        )
    return bool(ended.rowcount)


def _synchronize(session: Session, name: str) -> None:
    table = get_table(session, name)
    if isinstance(table.source, CsvSource):
        schedule(session, table, delay_s=0.0)


def _sealed(source: Source, encryption_key: str) -> Source:
    if isinstance(source, TableSource) or not source.token:
        return source
    return source.model_copy(update={"token": vault.seal(encryption_key, source.token)})


def _settings(source: Source) -> Jsonb:
    return Jsonb(source.model_dump(exclude={"kind"}))


def _read(row: Row) -> Table:
    return Table(
        row["crosswalk_id"],
        row["name"],
        parse_source(row["kind"], row["settings"]),
        row["version"],
        row["sync_run"],
        row["synced_at"],
        row["last_error"],
    )


def _audit(session: Session, action: Action, name: str, by: By, detail: str) -> None:
    tenant = session.execute("SELECT current_tenant() AS id").fetchone()
    record = audit.Record(
        actor=by.actor,
        action=action,
        resource=f"crosswalk {name}",
        verdict="allowed",
        tenant_id=tenant["id"] if tenant else None,
        origin=by.origin,
        detail=detail,
    )
    audit.append(session, record)
