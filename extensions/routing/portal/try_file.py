"""Trying a draft, or the live rules, on one DICOM file, at once. Nothing of it is kept."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from flask import render_template, request
from flask.typing import ResponseReturnValue

from extensions.routing import destinations, rulebook, tryout_changes
from extensions.routing.portal.common import pages, portal, tenant_session
from extensions.routing.portal.rule_check import is_form
from extensions.routing.portal.tryout import edited, refused, sent_draft
from extensions.routing.rules import trying_file
from extensions.routing.rules.rule import RuleDocument
from extensions.routing.uploaded import OneFile
from gateway.access import Action
from gateway.context import TaskContext
from gateway.errors import Conflict, InvalidInput
from gateway.needs import Needs

MOST_CHANGING = 50  # rules whose changes are shown


@pages.get("/rules/try-file")
@Needs(Action.CHANGE_ROUTING)
def show_try_file() -> str:
    """The form that takes a DICOM file, to try the live rules on."""
    return render_template("routing/try_file.html", text="", calling_aet="")


@pages.post("/rules/try-file")
@Needs(Action.CHANGE_ROUTING)
def try_file() -> ResponseReturnValue:
    """What every rule says of one file, what would be done with it, and which tags would change."""
    given: dict[str, Any] = {"calling_aet": request.form.get("calling_aet", "").strip(), "text": ""}
    draft: Sequence[RuleDocument] | None = None
    try:
        if is_form() or request.form.get("text", "").strip():
            given["text"], draft = sent_draft()
    except (InvalidInput, Conflict) as error:
        return refused(error)
    given |= {"rule_name": edited()}
    try:
        told = _sent_file()
    except InvalidInput as error:
        return render_template("routing/try_file.html", error=error, **given), error.http_status
    return render_template(
        "routing/try_file.html", **given, **_tried(told, draft, given["calling_aet"])
    )


def _sent_file() -> Mapping[str, Any]:
    upload = request.files.get("dicom")
    if not (upload and upload.filename):
        raise InvalidInput("file: choose a DICOM file.")
    return trying_file.read(upload.stream)


def _tried(
    told: Mapping[str, Any], draft: Sequence[RuleDocument] | None, calling_aet: str
) -> dict[str, object]:
    with tenant_session() as session:
        live = rulebook.live(session).rules
        places = {place.name for place in destinations.list_destinations(session)}
    facts, now = trying_file.facts_of(told, calling_aet), datetime.now().astimezone()
    does = trying_file.verdicts_of(live, facts, now)
    would = does if draft is None else trying_file.verdicts_of(draft, facts, now)
    actions = portal().actions
    changing = tryout_changes.changing(actions, [one.rule for one in would if one.fired])
    context, study_uid = _context(told), str(facts.get("StudyInstanceUID", [""])[0] or "")
    return {
        "trials": trying_file.compared(would, does),
        "planned": trying_file.planned(would, does, actions.transforms),
        "places": places,
        "changes": {
            rule.name: tryout_changes.examples_of(context, rule, study_uid)
            for rule in changing[:MOST_CHANGING]
        },
        "not_shown": len(changing[MOST_CHANGING:]),
    }


def _context(told: Mapping[str, Any]) -> TaskContext:
    """As the worker's, but that the archive is this file."""
    it = portal()
    return TaskContext(
        tenant_id=it.tenant(),
        settings=it.settings,
        database=it.database,
        archive=OneFile(told),
        log=logging.getLogger(__name__),
        actions=it.actions,
    )
