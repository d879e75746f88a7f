"""Trying a draft: on the last studies, by a worker, and on one file, at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from flask import redirect, render_template, request
from flask.typing import ResponseReturnValue

from extensions.routing import overview, rulebook, tryouts
from extensions.routing.portal.common import pages, portal, tenant_session, who
from extensions.routing.portal.rule_text import changed_rules, editor, sent_text
from extensions.routing.rules import trying_file
from extensions.routing.rules.rule import RuleDocument
from extensions.routing.rules.rules_yaml import load_rules
from gateway.access import Action
from gateway.errors import Conflict, InvalidInput
from gateway.needs import Needs

MOST_STUDIES = 100_000
MOST_DAYS = 3650


@pages.post("/rules/tryouts")
@Needs(Action.CHANGE_ROUTING)
def start_tryout() -> ResponseReturnValue:
    """Have the text of the editor tried on the last studies."""
    rule_name, text = _edited(), sent_text()
    with tenant_session() as session:
        book = rulebook.live(session)
    try:
        draft = changed_rules(book, text, rule_name)
        studies = _number("studies", 1000, MOST_STUDIES)
        days = _number("days", None, MOST_DAYS)
    except (InvalidInput, Conflict) as error:
        return editor(text, rule_name, book, error)
    with tenant_session() as session:
        number = tryouts.start(
            session,
            draft,
            most_studies=studies or MOST_STUDIES,
            days=days,
            author=who()["actor"],
        )
    return redirect(f"/routing/rules/tryouts/{number}", 303)


@pages.get("/rules/tryouts/<int:tryout_id>")
@Needs(Action.CHANGE_ROUTING)
def show_tryout(tryout_id: int) -> str:
    """How far it is, and what the draft would do beside what the live rules do."""
    with tenant_session() as session:
        it = tryouts.get(session, tryout_id)
        report = it.report
        shown = [one["study_instance_uid"] for one in report.get("different", ())]
        shown += [one["study_instance_uid"] for one in report.get("changes", ())]
        names = overview.patients_of(session, shown)
        held = tryouts.count_studies(session, it)
    return render_template(
        "routing/tryout.html",
        it=it,
        report=report,
        names=names,
        expected=min(held, it.most_studies),
        rules=[rule["name"] for rule in it.rules],
    )


@pages.get("/rules/try-file")
@Needs(Action.CHANGE_ROUTING)
def show_try_file() -> str:
    """The form that takes a DICOM file, to try the live rules on."""
    return render_template("routing/try_file.html", verdicts=None, text="", calling_aet="")


@pages.post("/rules/try-file")
@Needs(Action.CHANGE_ROUTING)
def try_file() -> ResponseReturnValue:
    """What every rule says of one file; nothing of the file is kept."""
    text, calling_aet = request.form.get("text", ""), request.form.get("calling_aet", "").strip()
    upload = request.files.get("dicom")
    try:
        if not (upload and upload.filename):
            raise InvalidInput("file: choose a DICOM file.")
        facts = trying_file.facts_of_file(upload.stream, calling_aet)
        rules = _rules(text)
    except InvalidInput as error:
        page = render_template(
            "routing/try_file.html", verdicts=None, text=text, calling_aet=calling_aet, error=error
        )
        return page, error.http_status
    verdicts = trying_file.verdicts_of(rules, facts, datetime.now().astimezone())
    return render_template(
        "routing/try_file.html", verdicts=verdicts, text=text, calling_aet=calling_aet
    )


def _rules(text: str) -> Sequence[RuleDocument]:
    if text:
        return load_rules(text, portal().actions)
    with tenant_session() as session:
        return rulebook.live(session).rules


def _edited() -> str | None:
    """Which rule the editor was of; None: the whole list."""
    return None if request.form.get("whole") == "yes" else request.form.get("rule_name", "")


def _number(name: str, default: int | None, most: int) -> int | None:
    told = request.form.get(name, "").strip()
    if not told:
        return default
    if not (told.isascii() and told.isdigit() and 1 <= int(told[:9]) <= most):
        raise InvalidInput(f"{name}: a number from 1 to {most}.")
    return int(told)
