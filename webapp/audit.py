"""The audit: who did what, from where, and whether it was allowed. For admins."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template, request
from psycopg import sql

from gateway import access
from gateway.access import Action, Resource
from gateway.errors import InvalidInput
from webapp import guard

pages = Blueprint("audit", __name__)
PER_PAGE = 50
VERDICTS = ("allowed", "denied", "failed")


@pages.get("/audit")
def index() -> str:
    """The newest records first; a system admin without a tenant sees those of all."""
    who = guard.principal()
    access.require(who, Action.READ_AUDIT, Resource(who.tenant_id))
    wanted = {
        name: request.args.get(name, "").strip()[:128] for name in ("text", "verdict", "before")
    }
    if wanted["before"] and not (wanted["before"].isascii() and wanted["before"].isdigit()):
        raise InvalidInput("before: the number of a record.")
    database = guard.context().database
    opened = (
        database.system_session("read the audit")
        if who.tenant_id is None
        else database.tenant_session(who.tenant_id)
    )
    statement, values = _statement(wanted)
    with opened as session:
        rows = session.execute(statement, values).fetchall()
    older = rows[PER_PAGE - 1]["audit_id"] if len(rows) > PER_PAGE else None
    return render_template(
        "audit.html",
        trail=rows[:PER_PAGE],
        wanted=wanted,
        older=older,
        verdicts=VERDICTS,
        all_tenants=who.tenant_id is None,
    )


def _statement(wanted: dict[str, str]) -> tuple[sql.Composed, dict[str, Any]]:
    conditions = [sql.SQL("true")]
    values: dict[str, Any] = {"limit": PER_PAGE + 1}
    if wanted["text"]:
        conditions.append(
            sql.SQL(
                "strpos(lower(actor || ' ' || action || ' ' || resource || ' ' || origin || ' ' "
                "|| detail), lower(%(text)s)) > 0"
            )
        )
        values["text"] = wanted["text"]
    if wanted["verdict"] in VERDICTS:
        conditions.append(sql.SQL("verdict = %(verdict)s"))
        values["verdict"] = wanted["verdict"]
    if wanted["before"]:
        conditions.append(sql.SQL("audit_id < %(before)s"))
        values["before"] = int(wanted["before"])
    statement = sql.SQL(
        "SELECT * FROM audit WHERE {} ORDER BY audit_id DESC LIMIT %(limit)s"
    ).format(sql.SQL(" AND ").join(conditions))
    return statement, values
