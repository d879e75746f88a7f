"""Fetching a table's CSV file again and again: each run plans the next one."""

from __future__ import annotations

from extensions.routing.changes import crosswalk_http, crosswalk_tables
from extensions.routing.changes.crosswalk_csv import Rows, read_csv
from extensions.routing.changes.crosswalk_sources import CsvSource
from extensions.routing.changes.crosswalk_tables import Table
from gateway import jobs, vault
from gateway.context import TaskContext
from gateway.errors import GatewayError, NotFound
from gateway.jobs import task

FIRST_RETRY_S = 60.0


@task
def sync_crosswalk(context: TaskContext, name: str, run: int) -> None:
    """Fetch and import a table, and plan the next time. What fails leaves the rows as they are."""
    with context.database.tenant_session(context.tenant_id) as session:
        try:
            table = crosswalk_tables.get_table(session, name)
        except NotFound:
            return  # deleted
    if not isinstance(table.source, CsvSource) or table.sync_run != run:
        return  # another run took over, or this one ran before
    rows, error = _fetch(context, table, table.source)
    with context.database.tenant_session(context.tenant_id) as session:
        locked = session.execute(
            "SELECT FROM crosswalk WHERE crosswalk_id = %s AND sync_run = %s FOR UPDATE",
            [table.crosswalk_id, run],
        ).fetchone()
        if locked is None:
            return
        if rows is not None:
            version = crosswalk_tables.write_rows(session, table, rows, complete=True)
            if version != table.version:
                by = crosswalk_tables.By("system", "synchronization")
                crosswalk_tables.note_import(session, name, len(rows), version, by=by)
        session.execute(
            "UPDATE crosswalk SET last_error = %(error)s, synced_at = CASE WHEN %(error)s::text "
            "IS NULL THEN now() ELSE synced_at END WHERE crosswalk_id = %(table)s",
            {"error": error or None, "table": table.crosswalk_id},
        )
        every_s = table.source.every_s
        delay_s = jobs.jittered_s(min(FIRST_RETRY_S, every_s)) if error else float(every_s)
        crosswalk_tables.schedule(session, table, delay_s=delay_s)
    context.log.info(
        "crosswalk synchronized",
        extra={"table": name, "rows": len(rows or ()), "failed": bool(error)},
    )


def _fetch(context: TaskContext, table: Table, source: CsvSource) -> tuple[Rows | None, str]:
    try:
        token = vault.unseal(context.settings.encryption_key, source.token)
        return read_csv(crosswalk_http.fetch_file(source, token), source.key_column), ""
    except GatewayError as error:
        context.log.warning(
            "crosswalk not synchronized", extra={"table": table.name, "error": error.code}
        )
        return None, error.message
