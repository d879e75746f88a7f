"""The form of a rule: what is wrong stands at the field that it is about."""

from __future__ import annotations

from typing import Any

import pytest

from extensions.routing.actions import ACTIONS
from extensions.routing.rules.complaints import WrongRule
from extensions.routing.rules.rule import parse_rule
from extensions.routing.rules.rule_form import (
    Mistake,
    document_of,
    filled_rows,
    form_of,
    in_the_form,
    mistakes_of,
    read_form,
)
from gateway.actions import Actions

KNOWN = Actions(ACTIONS)
FIELDS = {"name": "A", "destination": "archive", "enabled": "yes"}


def refused(rows: list[list[str]], **fields: str) -> tuple[WrongRule, list[Mistake]]:
    with pytest.raises(WrongRule) as refusal:
        parse_rule(document_of(read_form(FIELDS | fields, rows)), KNOWN)
    return refusal.value, mistakes_of(refusal.value, filled_rows(rows))


def rows(*conditions: tuple[str, str, str]) -> list[list[str]]:
    return [list(part) for part in zip(*conditions, strict=True)] or [[], [], []]


@pytest.mark.parametrize(
    ("condition", "field", "told"),
    [
        (("Modalit", "equals", "CT"), "tag", "did you mean Modality?"),
        (("", "equals", "CT"), "tag", "is missing"),
        (("Modality", "at least", "CT"), "operator", "does not fit Modality"),
        (("Rows", "at least", "many"), "value", "is no number"),
    ],
)
def test_a_condition_is_wrong_at_its_part_and_row_empty_rows_included(
    condition: tuple[str, str, str], field: str, told: str
) -> None:
    given = rows(("", "equals", ""), ("Modality", "equals", "CT"), condition)
    _, (mistake,) = refused(given)
    assert (mistake.field, mistake.row, mistake.label) == (field, 2, f"Condition 3, {field}")
    assert told in mistake.told


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": "a/b"}, "name"),
        ({"trigger": "never"}, "trigger"),
        ({"destination": ""}, "destination"),
    ],
)
def test_what_else_is_wrong_is_said_at_its_field(fields: dict[str, str], field: str) -> None:
    _, (mistake,) = refused(rows(), **fields)
    assert (mistake.field, mistake.row) == (field, 0)


def test_the_words_are_those_of_the_text() -> None:
    error, (mistake,) = refused(rows(("Modalit", "equals", "CT")))
    assert mistake.told == error.complaints[0].told
    assert "Condition 1, tag: " in str(in_the_form(error))


def test_what_the_form_says_it_shows_again() -> None:
    given = rows(("Modality", "one of", "CT, MR"), ("Rows", "between", "1, 512"))
    fields: dict[str, Any] = FIELDS | {"shape": "any", "priority": "urgent", "stop": "yes"}
    form = read_form(fields, given)
    assert form_of(parse_rule(document_of(form), KNOWN)) == form
