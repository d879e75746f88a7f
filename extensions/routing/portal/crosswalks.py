"""Crosswalk tables: the list, a new one, its source, its rows, and the import of a CSV file.

Keys name patients: none is ever part of an address, which logs keep.
"""

from __future__ import annotations

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue

from extensions.routing.changes import crosswalk_tables as tables
from extensions.routing.changes.crosswalk_csv import read_csv
from extensions.routing.changes.crosswalk_sources import MODELS
from extensions.routing.changes.crosswalk_tables import By
from extensions.routing.portal.common import (
    encryption_key,
    pages,
    portal,
    tenant_session,
    who,
)
from gateway.access import Action
from gateway.actions import Step
from gateway.errors import Conflict, GatewayError, InvalidInput, NotFound
from gateway.needs import Needs

MOST_SHOWN = 50


@pages.get("/rules/crosswalks")
@Needs(Action.CHANGE_ROUTING)
def show_crosswalks() -> str:
    """Every table, with what is wrong with it."""
    with tenant_session() as session:
        found = tables.list_tables(session)
        counts = tables.count_rows(session)
    return render_template("routing/crosswalks.html", found=found, counts=counts)


@pages.get("/rules/crosswalks/new")
@Needs(Action.CHANGE_ROUTING)
def show_new_crosswalk(error: GatewayError | None = None) -> ResponseReturnValue:
    """The form of a new table."""
    values = dict(request.form) if error else {"kind": "table"}
    page = render_template("routing/crosswalk_new.html", values=values, error=error)
    return page, error.http_status if error else 200


@pages.post("/rules/crosswalks/new")
@Needs(Action.CHANGE_ROUTING)
def create_crosswalk() -> ResponseReturnValue:
    """Create it; what is wrong is said above the form, which keeps what was typed."""
    name, kind = request.form.get("name", "").strip(), request.form.get("kind", "")
    try:
        with tenant_session() as session:
            tables.create_table(
                session,
                name=name,
                kind=kind,
                settings=_settings(kind),
                encryption_key=encryption_key(),
                by=By(**who()),
            )
    except (InvalidInput, Conflict) as error:
        portal().record_failure("create-crosswalk", f"crosswalk {name}", error.code)
        return show_new_crosswalk(error)
    flash(f"The table {name} is created.")
    return redirect(f"/routing/rules/crosswalks/{name}", 303)


@pages.get("/rules/crosswalks/<table_name>")
@Needs(Action.CHANGE_ROUTING)
def show_crosswalk(
    table_name: str, error: GatewayError | None = None, key: str = ""
) -> ResponseReturnValue:
    """A table and its first rows, or those whose keys begin so."""
    with tenant_session() as session:
        table = tables.get_table(session, table_name)
        rows = tables.first_rows(session, table, beginning=key, limit=MOST_SHOWN + 1)
        counts = tables.count_rows(session)
        # Whoever sees keys has seen who was examined.
        portal().record(session, "read-crosswalk", f"crosswalk {table_name}", portal().tenant())
    columns = sorted({column for values in rows.values() for column in values})
    page = render_template(
        "routing/crosswalk.html",
        it=table,
        rows=dict(list(rows.items())[:MOST_SHOWN]),
        more=len(rows) > MOST_SHOWN,
        count=counts.get(table_name, 0),
        columns=columns,
        values=table.source.model_dump(exclude={"token"}),
        key=key,
        error=error,
    )
    return page, error.http_status if error else 200, {"Cache-Control": "no-store"}


@pages.post("/rules/crosswalks/<table_name>")
@Needs(Action.CHANGE_ROUTING)
def change_crosswalk(table_name: str) -> ResponseReturnValue:
    """Do what the button says: find, set or remove a row, import, change the source, delete."""
    with tenant_session() as session:
        tables.get_table(session, table_name)
    do = _DEEDS.get(request.form.get("do", ""))
    if do is None:
        raise InvalidInput("do: use one of the buttons of the page.")
    try:
        return do(table_name)
    except (InvalidInput, Conflict) as error:
        portal().record_failure("change-crosswalk", f"crosswalk {table_name}", error.code)
        return show_crosswalk(table_name, error)


def _find(table_name: str) -> ResponseReturnValue:
    return show_crosswalk(table_name, key=request.form.get("key", "").strip())


def _set_row(table_name: str) -> ResponseReturnValue:
    key, form = request.form.get("key", ""), request.form
    names, values = form.getlist("column"), form.getlist("cell")
    if len(names) != len(values):
        raise InvalidInput("row: each value needs the name of its column.")
    row = {name.strip(): value.strip() for name, value in zip(names, values, strict=True) if name}
    if not row:
        raise InvalidInput("row: name at least one column.")
    with tenant_session() as session:
        _require_own_rows(tables.get_table(session, table_name))
        version = tables.put_row(session, table_name, key, row, by=By(**who()))
    return _saved(table_name, f"The row is saved; the table is at version {version}.")


def _remove_row(table_name: str) -> ResponseReturnValue:
    try:
        with tenant_session() as session:
            _require_own_rows(tables.get_table(session, table_name))
            version = tables.remove_row(
                session, table_name, request.form.get("key", ""), by=By(**who())
            )
    except NotFound as error:
        raise Conflict(error.detail) from None
    return _saved(table_name, f"The row is removed; the table is at version {version}.")


def _import(table_name: str) -> ResponseReturnValue:
    file = request.files.get("file")
    data = file.read() if file and file.filename else request.form.get("csv", "").encode()
    rows = read_csv(data, request.form.get("key_column", "").strip())
    with tenant_session() as session:
        _require_own_rows(tables.get_table(session, table_name))
        version = tables.import_rows(session, table_name, rows, by=By(**who()))
    return _saved(table_name, f"{len(rows)} rows are imported as version {version}.")


def _change_source(table_name: str) -> ResponseReturnValue:
    with tenant_session() as session:
        kind = tables.get_table(session, table_name).source.kind
        tables.update_table(
            session,
            table_name,
            settings=_settings(kind),
            encryption_key=encryption_key(),
            by=By(**who()),
        )
    return _saved(table_name, "The source is saved.")


def _delete(table_name: str) -> ResponseReturnValue:
    with tenant_session() as session:
        if uses := portal().uses_of(session, Step("crosswalk", {"table": table_name})):
            raise Conflict(f"It is used by {', '.join(uses)}; end that first.")
        tables.delete_table(session, table_name, by=By(**who()))
    flash(f"The table {table_name} is deleted.")
    return redirect("/routing/rules/crosswalks", 303)


def _saved(table_name: str, told: str) -> ResponseReturnValue:
    flash(told)
    return redirect(f"/routing/rules/crosswalks/{table_name}", 303)


def _settings(kind: str) -> dict[str, str]:
    """The fields of the kind's source; an empty one is left to its default."""
    model = MODELS.get(kind)
    given = (
        {name: request.form.get(name, "").strip() for name in model.model_fields} if model else {}
    )
    return {name: value for name, value in given.items() if value and name != "kind"}


def _require_own_rows(table: tables.Table) -> None:
    if table.source.kind != "table":
        raise Conflict(f"The rows of {table.name!r} come from its source; change them there.")


_DEEDS = {
    "find": _find,
    "set": _set_row,
    "remove": _remove_row,
    "import": _import,
    "source": _change_source,
    "delete": _delete,
}
