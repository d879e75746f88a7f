"""Rules as text: the editor of one or all, what is wrong as it is written, and the comparison."""

from __future__ import annotations

from collections.abc import Sequence

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue

from extensions.routing import rulebook
from extensions.routing.portal import text_help
from extensions.routing.portal.common import pages, portal, tenant_session
from extensions.routing.portal.saving import missing, save
from extensions.routing.rulebook import Rulebook
from extensions.routing.rules import editing, rules_diff
from extensions.routing.rules.complaints import WrongRule
from extensions.routing.rules.rule import RuleDocument
from extensions.routing.rules.rule_words import words_of
from extensions.routing.rules.rules_lines import marked
from extensions.routing.rules.rules_yaml import dump_rules, load_rules
from gateway.access import Action
from gateway.errors import Conflict, GatewayError, InvalidInput, NotFound
from gateway.needs import Needs


@pages.get("/rules/text", defaults={"rule_name": None})
@pages.get("/rules/text/new", defaults={"rule_name": ""})
@pages.get("/rules/text/named/<rule_name>")
@Needs(Action.CHANGE_ROUTING)
def show_text(rule_name: str | None) -> ResponseReturnValue:
    """The editor: of the whole list, of a new rule, of a known one."""
    with tenant_session() as session:
        book = rulebook.live(session)
    if rule_name is None:
        return editor(dump_rules(book.rules) if book.rules else text_help.FIRST, rule_name, book)
    if not rule_name:
        return editor(text_help.FIRST, rule_name, book)
    return editor(dump_rules([editing.named(book.rules, rule_name)]), rule_name, book)


@pages.post("/rules/text", defaults={"rule_name": None})
@pages.post("/rules/text/new", defaults={"rule_name": ""})
@pages.post("/rules/text/named/<rule_name>")
@Needs(Action.CHANGE_ROUTING)
def save_text(rule_name: str | None) -> ResponseReturnValue:
    """Compare with the live rules, or save; what is wrong is said at the line where it is."""
    then = request.form.get("then", "compare")
    text = sent_text()
    with tenant_session() as session:
        book = rulebook.live(session)
    based_on = request.form.get("based_on", type=int, default=book.version)
    if then == "edit":
        return editor(text, rule_name, book)
    try:
        changed = changed_rules(book, text, rule_name)
    except (InvalidInput, Conflict, NotFound) as error:
        return _refused(text, rule_name, book, error)
    if then != "save":
        return comparison(text, rule_name, book, changed)
    try:
        with tenant_session() as session:
            saved = save(session, changed, based_on=based_on, note=_note(rule_name))
    except Conflict as error:  # live is another version now: look at the difference to that
        return comparison(text, rule_name, book, changed, error)
    except InvalidInput as error:
        return _refused(text, rule_name, book, error)
    flash(f"Version {saved.version} of the rules is live.")
    return redirect("/routing/rules", 303)


def _refused(
    text: str, rule_name: str | None, book: Rulebook, error: GatewayError
) -> ResponseReturnValue:
    portal().record_failure("change-rules", "rules", error.code)
    return editor(text, rule_name, book, error)


@pages.post("/rules/check")
@Needs(Action.CHANGE_ROUTING)
def check_text() -> str:
    """What is wrong with the text as it stands, or what it says in words; a part of the editor."""
    return render_template("routing/rule_check.html", **checked(sent_text()))


def editor(
    text: str, rule_name: str | None, book: Rulebook, error: GatewayError | None = None
) -> ResponseReturnValue:
    """The page with the text."""
    page = render_template(
        "routing/rule_text.html",
        text=text,
        rule_name=rule_name,
        book=book,
        based_on=book.version,
        error=error,
        examples=text_help.EXAMPLES,
        actions=text_help.actions_of(portal().actions),
        **checked(text),
    )
    return page, error.http_status if error else 200


def comparison(
    text: str,
    rule_name: str | None,
    book: Rulebook,
    changed: Sequence[RuleDocument],
    error: GatewayError | None = None,
) -> ResponseReturnValue:
    """What saving would change in the live rules."""
    page = render_template(
        "routing/rule_compare.html",
        text=text,
        rule_name=rule_name,
        book=book,
        changes=rules_diff.diff(book.rules, changed),
        error=error,
    )
    return page, error.http_status if error else 200


def changed_rules(book: Rulebook, text: str, rule_name: str | None) -> Sequence[RuleDocument]:
    """The whole list as the text would have it; raises `WrongRule` or `Conflict`."""
    rules = load_rules(text, portal().actions)
    if rule_name is None:
        return rules
    if len(rules) != 1:
        raise InvalidInput(
            f"Here are {len(rules)} rules where one is edited; edit the whole list for several."
        )
    return editing.put(book.rules, rule_name, rules[0])


def checked(text: str) -> dict[str, object]:
    """For the template: every complaint with its line, or the rules in words."""
    try:
        rules = load_rules(text, portal().actions)
    except WrongRule as error:
        return {"complaints": marked(text, error.complaints), "words": []}
    return in_words(rules)


def in_words(rules: Sequence[RuleDocument]) -> dict[str, object]:
    """For the template: what the rules say, and what they name that is not there."""
    with tenant_session() as session:
        lacking = missing(session, rules)
    return {
        "complaints": [],
        "words": [words_of(rule) for rule in rules],
        "missing": lacking,
    }


def sent_text() -> str:
    """What was typed, or the file that was chosen instead; raises `InvalidInput`."""
    file = request.files.get("file")
    if not (file and file.filename):
        return request.form.get("text", "").replace("\r\n", "\n")
    try:
        return str(file.read(), "utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput("file: it is not UTF-8; save it as UTF-8.") from None


def _note(rule_name: str | None) -> str:
    told = request.form.get("note", "").strip()[:200]
    if told or rule_name is None:
        return told or "Changed as text"
    return f"Changed {rule_name}" if rule_name else "Added a rule"
