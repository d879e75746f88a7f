"""Trying a draft on the last studies, by a worker; and where a draft comes from."""

from __future__ import annotations

from collections.abc import Sequence

from flask import redirect, render_template, request
from flask.typing import ResponseReturnValue

from extensions.routing import overview, rulebook, tryouts
from extensions.routing.portal.common import pages, tenant_session, who
from extensions.routing.portal.rule_check import form_text, is_form, sent_form
from extensions.routing.portal.rule_text import changed_rules, editor, sent_text
from extensions.routing.portal.rules import show_rule
from extensions.routing.rules.rule import RuleDocument, parse_rules
from extensions.routing.rules.rules_yaml import dump_rules
from extensions.routing.rules.trying import MOST_SHOWN
from gateway.access import Action
from gateway.errors import Conflict, InvalidInput
from gateway.needs import Needs

MOST_STUDIES = 100_000
MOST_DAYS = 3650


@pages.post("/rules/tryouts")
@Needs(Action.CHANGE_ROUTING)
def start_tryout() -> ResponseReturnValue:
    """Have what the editor or the form says tried on the last studies."""
    try:
        _, draft = sent_draft()
        studies = _number("studies", 1000, MOST_STUDIES)
        days = _number("days", None, MOST_DAYS)
    except (InvalidInput, Conflict) as error:
        return refused(error)
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
        listed = [*report.get("different", ()), *report.get("alike", ())][:MOST_SHOWN]
        shown = [one["study_instance_uid"] for one in (*listed, *report.get("changes", ()))]
        names = overview.patients_of(session, shown)
        held = tryouts.count_studies(session, it)
    return render_template(
        "routing/tryout.html",
        it=it,
        report=report,
        listed=listed,
        names=names,
        expected=min(held, it.most_studies),
        rules=[rule["name"] for rule in it.rules],
        text=dump_rules(parse_rules(it.rules)),
    )


def sent_draft() -> tuple[str, Sequence[RuleDocument]]:
    """The text of the editor, or of what its form says, and the whole list as it would have it."""
    text = form_text() if is_form() else sent_text()
    with tenant_session() as session:
        book = rulebook.live(session)
    return text, changed_rules(book, text, edited())


def refused(error: InvalidInput | Conflict) -> ResponseReturnValue:
    """The page that it was sent from, as it was."""
    if is_form():
        return show_rule(edited() or "", sent_form(), error)
    with tenant_session() as session:
        book = rulebook.live(session)
    return editor(sent_text(), edited(), book, error)


def edited() -> str | None:
    """Which rule the editor was of; None: the whole list."""
    return None if request.form.get("whole") == "yes" else request.form.get("rule_name", "")


def _number(name: str, default: int | None, most: int) -> int | None:
    told = request.form.get(name, "").strip()
    if not told:
        return default
    if not (told.isascii() and told.isdigit() and 1 <= int(told[:9]) <= most):
        raise InvalidInput(f"{name}: a number from 1 to {most}.")
    return int(told)
