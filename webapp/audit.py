"""The audit: who did what, from where, and whether it was allowed. For admins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, render_template, request, url_for

from gateway.access import Action
from gateway.audit.export import FORMATS, NAMES_PATIENTS, WITH_PATIENTS, lines
from gateway.audit.search import FIELDS, VERDICTS, Search, known_actions, page, stream
from gateway.db import Session
from gateway.errors import InvalidInput
from gateway.identity import Principal
from gateway.needs import Needs
from webapp import guard

pages = Blueprint("audit", __name__)
PER_PAGE = 50
_TYPES = {"jsonl": "application/jsonl", "fhir": "application/fhir+ndjson", "dicom": "text/plain"}


@pages.get("/audit")
@Needs(Action.READ_AUDIT)
def index() -> str:
    """The newest records first; a system admin without a tenant sees those of all."""
    who = guard.principal()
    before = request.args.get("before", "")
    if before and not (before.isascii() and before.isdigit() and len(before) < 19):
        raise InvalidInput("before: the number of a record.")
    words = {name: request.args.get(name, "").strip() for name in FIELDS}
    error, rows = None, []
    with _session(who) as session:
        actions = known_actions(session)
        try:
            search = _search(who)
            number = int(before) if before else None
            rows = page(session, search, before=number, limit=PER_PAGE + 1)
        except InvalidInput as wrong:
            error = wrong
    asked = {name: word for name, word in words.items() if word}
    older = rows[PER_PAGE - 1]["audit_id"] if len(rows) > PER_PAGE else None
    return render_template(
        "audit.html",
        trail=rows[:PER_PAGE],
        wanted=words,
        asked=asked,
        error=error,
        newest=_address("index", asked) if before else None,
        older=_address("index", asked | {"before": older}) if older else None,
        exports={form: _address("export", asked | {"format": form}) for form in FORMATS},
        verdicts=VERDICTS,
        actions=actions,
        all_tenants=who.tenant_id is None,
    )


@pages.get("/audit/export")
@Needs(Action.READ_AUDIT)
def export() -> Response:
    """Everything that the search finds, the oldest first, as a file that is never in memory.

    Patients are named to who may also read studies.
    """
    who = guard.principal()
    search = _search(who)
    form = request.args.get("format", "jsonl")
    if form not in FORMATS:
        raise InvalidInput(f"format: one of {', '.join(FORMATS)}.")
    patients = form in WITH_PATIENTS and guard.context().may(Action.READ_STUDY)
    detail = NAMES_PATIENTS if patients else ""
    with guard.context().database.system_session("export of the audit") as session:
        guard.context().record(session, "export-audit", f"audit as {form}", who.tenant_id, detail)
    opened = _session(who)

    def body() -> Iterator[str]:
        with opened as session:
            yield from lines(stream(session, search, patients=patients), form)

    name = f"audit-{who.tenant_id or 'all'}-{datetime.now(UTC):%Y%m%d-%H%M%S}.{form}"
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(body(), content_type=f"{_TYPES[form]}; charset=utf-8", headers=disposition)


def _address(view: str, query: dict[str, Any]) -> str:
    return url_for(f"audit.{view}", **query)


def _search(who: Principal) -> Search:
    # The database shows a tenant its own rows alone; told the tenant, it also finds the index.
    return replace(Search.parse(request.args), tenant_id=who.tenant_id or "")


def _session(who: Principal) -> AbstractContextManager[Session]:
    database = guard.context().database
    if who.tenant_id is None:
        return database.system_session("read the audit")
    return database.tenant_session(who.tenant_id)
