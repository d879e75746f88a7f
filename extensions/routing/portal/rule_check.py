"""The form of a rule while it is filled in: what is wrong at which field, or what it says."""

from __future__ import annotations

from collections.abc import Sequence

from flask import render_template, request

from extensions.routing import rulebook
from extensions.routing.portal.common import pages, portal, tenant_session
from extensions.routing.portal.rule_text import in_words
from extensions.routing.rules import editing, rule_form
from extensions.routing.rules.complaints import WrongRule
from extensions.routing.rules.rule import RuleDocument, parse_rule
from extensions.routing.rules.rule_form import Mistake, RuleForm
from extensions.routing.rules.rules_yaml import dump_rules
from gateway.access import Action
from gateway.errors import Conflict, NotFound
from gateway.needs import Needs


@pages.post("/rules/check-form")
@Needs(Action.CHANGE_ROUTING)
def check_form() -> str:
    """What is wrong with the form as it stands, or what it says in words; a part of its page."""
    places = rule_form.filled_rows(_rows())
    told = checked(sent_form(), request.form.get("rule_name", ""), places)
    return render_template("routing/rule_form_check.html", **told)


def checked(
    form: RuleForm, rule_name: str, places: Sequence[int] | None = None
) -> dict[str, object]:
    """For the template: each mistake at its field, or the rule in words."""
    try:
        rule = rule_of(form)
        with tenant_session() as session:
            editing.put(rulebook.live(session).rules, rule_name, rule)
    except WrongRule as error:
        return {"mistakes": rule_form.mistakes_of(error, places)}
    except Conflict as error:
        return {"mistakes": [Mistake("name", 0, "Name", str(error))]}
    except NotFound as error:
        return {"mistakes": [Mistake("", 0, "", str(error))]}
    return {"mistakes": [], "complaints": []} | in_words([rule])


def rule_of(form: RuleForm) -> RuleDocument:
    """The rule that the form says; raises `WrongRule`."""
    return parse_rule(rule_form.document_of(form), portal().actions)


def is_form() -> bool:
    """Whether this request comes from the form; else it is the editor's."""
    return "shape" in request.form


def form_text() -> str:
    """The text of what the form says; raises `WrongRule`, whose places are those of the form."""
    try:
        return dump_rules([rule_of(sent_form())])
    except WrongRule as error:
        raise rule_form.in_the_form(error) from None


def sent_form() -> RuleForm:
    """What was typed; raises `InvalidInput`."""
    return rule_form.read_form(request.form, _rows())


def _rows() -> list[list[str]]:
    return [request.form.getlist(part) for part in ("tag", "operator", "value")]
