"""The action *crosswalk*: tags are set by the row of a table that another tag names.

One instance of each series tells which keys a study has, and these are looked up, all in one
version of the table. An instance with another key is not sent, for it would get another's values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydicom import Dataset, config

from extensions.routing.changes import crosswalk_http, crosswalk_tables, tag_path
from extensions.routing.changes.arrival import arrived_at
from extensions.routing.changes.crosswalk_csv import Rows
from extensions.routing.changes.crosswalk_settings import Crosswalk, changes_of
from extensions.routing.changes.crosswalk_sources import CsvSource, LookupSource, TableSource
from extensions.routing.changes.crosswalk_tables import Table
from extensions.routing.changes.morph import CannotMorph, first_value, morph
from extensions.routing.changes.morph_settings import Set
from extensions.routing.changes.original_attributes import Note
from extensions.routing.changes.tag_path import TagPath
from gateway import vault
from gateway.actions import Change, NeedsPerson
from gateway.context import TaskContext
from gateway.errors import NotFound


def prepare(context: TaskContext, settings: Crosswalk, study_uid: str) -> Change:
    """Look up what the study needs; raises `NeedsPerson`, or `CrosswalkUnavailable` for a while.

    Neither they nor the log say what was looked up.
    """
    return _prepare(context, settings, study_uid, keep=True)


def preview(context: TaskContext, settings: Crosswalk, study_uid: str) -> Change:
    """The same, for a try-out: what a service answers is not kept."""
    return _prepare(context, settings, study_uid, keep=False)


def _prepare(context: TaskContext, settings: Crosswalk, study_uid: str, *, keep: bool) -> Change:
    path = tag_path.parse(settings.look_up)
    keys = _keys(context, path, study_uid)
    # No table holds U+0000, which PostgreSQL refuses.
    asked = {key for key in keys if key and "\0" not in key}
    table, rows = look_up(context, settings.table, asked, keep=keep)
    changes = {key: _changes(settings, table, key, rows.get(key)) for key in keys}
    note = Note(
        arrived_at(context, study_uid),
        f"ARGONATH crosswalk {table.name} v{table.version}",
        settings.reason,
        settings.source,
    )
    told = {"table": table.name, "version": table.version, "keys": len(keys), "rows": len(rows)}
    context.log.info("crosswalk looked up", extra=told)

    def change(dataset: Dataset) -> Dataset:
        found = changes.get(first_value(dataset, path))
        if found is None:
            raise CannotMorph(f"Its {path} is not that of the instance that stands for its series.")
        return morph(dataset, found, note)

    return change


def look_up(
    context: TaskContext, name: str, keys: Iterable[str], *, keep: bool = True
) -> tuple[Table, Rows]:
    """The table, and its rows of these keys, asked for where that is due, and kept."""
    with context.database.tenant_session(context.tenant_id) as session:
        try:
            table = crosswalk_tables.get_table(session, name)
        except NotFound:
            raise NeedsPerson(f"There is no crosswalk table {name!r}; add it.") from None
        fresh_s = table.source.keep_s if isinstance(table.source, LookupSource) else None
        rows = crosswalk_tables.find_rows(session, table, keys, newer_than_s=fresh_s)
    if not isinstance(table.source, LookupSource):
        _require_rows(table)
        return table, rows
    token = vault.unseal(context.settings.encryption_key, table.source.token)
    for key in sorted(set(keys) - set(rows)):
        answer = crosswalk_http.ask(table.source, token, key)
        if keep:
            with context.database.tenant_session(context.tenant_id) as session:
                crosswalk_tables.note_answer(session, table, key, answer)
                table = crosswalk_tables.get_table(session, name)
        if answer is not None:
            rows[key] = answer
    return table, rows


def _require_rows(table: Table) -> None:
    if isinstance(table.source, TableSource) and table.version == 0:
        raise NeedsPerson(f"The crosswalk table {table.name!r} has no rows; import them.")
    if isinstance(table.source, CsvSource) and table.synced_at is None:
        raise crosswalk_http.CrosswalkUnavailable(f"{table.name!r} was not fetched yet.")


def _keys(context: TaskContext, path: TagPath, study_uid: str) -> set[str]:
    return {
        first_value(_dataset(head.metadata, path), path)
        for head in context.archive.heads_of(study_uid)
    }


def _dataset(metadata: Mapping[str, object], path: TagPath) -> Dataset:
    """What the path leads through; of a private tag its group, in which its creator is."""
    root = path.steps[0]
    needed = {
        tag: element
        for tag, element in metadata.items()
        if int(tag, 16) == root.tag or (root.creator and int(tag, 16) >> 16 == root.tag >> 16)
    }
    with config.disable_value_validation():  # its complaints would quote values
        return Dataset.from_json(needed, bulk_data_uri_handler=lambda *_: None)


def _changes(
    settings: Crosswalk, table: Table, key: str, row: Mapping[str, str] | None
) -> list[Set]:
    if row is None and settings.on_miss == "keep":
        return []
    if row is None and settings.on_miss == "hold" and not key:
        raise NeedsPerson(f"The study has no {settings.look_up} to look up; correct or discard it.")
    if row is None and settings.on_miss == "hold":
        raise NeedsPerson(
            f"The crosswalk table {table.name!r} (version {table.version}) has no row for the "
            f"study's {settings.look_up}; add it."
        )
    try:
        return changes_of(settings, settings.defaults if row is None else row)
    except ValueError as error:
        told = f"The crosswalk table {table.name!r} (version {table.version}): {error}; correct it."
        raise NeedsPerson(told) from None
