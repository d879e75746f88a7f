from __future__ import annotations

from typing import Any

import pytest
import yaml

from extensions.routing.rules.complaints import WrongRule
from extensions.routing.rules.rule import parse_rule
from extensions.routing.rules.rules_yaml import dump_rules, load_rules
from tests.unit.extensions.routing.rule_samples import ACTIONS, CT, document, leaf

HEAD = "rules:\n- name: a\n  actions:\n  - forward: {to: x}\n"


def test_rules_are_written_as_people_write_them() -> None:
    rule = document("CT at night", {"all": [CT, {"none": [leaf("labels", "exists")]}]}, stop=True)
    assert dump_rules([rule, document("rest", fallback=True)]) == (
        "rules:\n"
        "- name: CT at night\n"
        "  trigger: study stable\n"
        "  when:\n"
        "    all:\n"
        "    - {field: Modality, operator: equals, value: CT}\n"
        "    - none:\n"
        "      - {field: labels, operator: exists}\n"
        "  actions:\n"
        "  - forward: {to: archive}\n"
        "  stop: true\n"
        "\n"
        "- name: rest\n"
        "  trigger: study stable\n"
        "  actions:\n"
        "  - forward: {to: archive}\n"
        "  fallback: true\n"
    )


TRICKY = [
    "NO", "yes", "on", "off", "null", "~", "true", "00123", "0x1F", "0o17", "1_000", "12:30:45",
    "2024-01-31", "1.50", "1.5", "15", "-0", "1e5", "1e+16", ".5", "+5", "1.", "=", "<<", "- x",
    "# x", "a: b", "a #b", "*x", "&x", "!x", "%x", "@x", "`x", "'", '"', "\\", "{x}", "[x]", "?",
    "山田^太郎", "é", "😀", "x" * 200, "word " * 40 + "end", "a\u2028b", "\ufeffx", "\u00a0x",
]  # fmt: skip


@pytest.mark.parametrize("text", TRICKY)
def test_a_text_stays_the_text_that_it_is(text: str) -> None:
    raw = {"name": "a", "description": f"{text}\n\n {text} \n", "actions": [{"do": {"to": text}}]}
    rules = (parse_rule({**raw, "when": leaf("PatientID", "one of", [text, "x"])}),)
    assert load_rules(dump_rules(rules)) == rules


@pytest.mark.parametrize("value", [0, -1, 10**30, 0.1, -1.5, 1e16, 1e-7, 1.0, True, False, None])
def test_settings_keep_their_types(value: Any) -> None:
    rules = (parse_rule({"name": "a", "actions": [{"do": {"x": value, "y": [value, {"z": []}]}}]}),)
    found = load_rules(dump_rules(rules))
    assert found == rules
    assert type(found[0].actions[0].settings["x"]) is type(value)


def test_an_identifier_keeps_its_zeros_without_quotes() -> None:
    when = "  when: {field: PatientID, operator: one of, value: [00123, 12, 1.50, NO, 12:30]}\n"
    assert load_rules(HEAD + when)[0].as_json()["when"]["value"] == [
        "00123", "12", "1.50", "NO", "12:30",
    ]  # fmt: skip


def test_another_reader_of_yaml_finds_the_same_values() -> None:
    texts = [text for text in TRICKY if text.isprintable()]
    rule = document("a", leaf("PatientID", "one of", texts))
    assert yaml.safe_load(dump_rules([rule]))["rules"][0]["when"]["value"] == texts


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "The file must hold `rules:`"),
        ("rules: 5", "The file must hold `rules:`"),
        ("rules: []\nmore: 1", "The file must hold `rules:`"),
        ("rules: [", "line 2, column 1: "),
        ("rules: \x07", "This is no YAML: "),
        ("rules: []\n---\nrules: []", "line 2, column 1: "),
        ("rules: &a []", "line 1, column 8: anchors and aliases are not read"),
        ("rules: !!python/object/apply:os.getcwd []", "line 1, column 8: the tag tag:yaml.org"),
        ("rules: [!!binary aGk=]", "line 1, column 9: the tag tag:yaml.org,2002:binary is not"),
        ("rules: " + "[" * 5000, "line 1, column 47: nested more than 40 deep"),
        ("rules: [{[a]: b}]", "line 1, column 10: a list or mapping is no name"),
        (HEAD + "  name: b\n", "line 5, column 3: 'name' is here twice; remove one"),
        ("rules:\n" + "- {}\n" * 1001, "rules: 1001 of them; at most 1000 are possible"),
        ("#" * 1_000_001, "1000001 characters; at most 1000000 are possible"),
    ],
)
def test_a_file_that_is_no_list_of_rules_is_refused(text: str, told: str) -> None:
    with pytest.raises(WrongRule) as error:
        load_rules(text)
    assert str(error.value.complaints[0]).startswith(told)


def test_all_wrong_places_of_a_file_are_named_at_once() -> None:
    text = (
        HEAD
        + "- name: a\n  actions:\n  - fax: {}\n"
        + "- name: b\n  actions:\n  - forward: {}\n"
        + "  when: {all: [{field: Modalty, operator: equals, value: CT}]}\n"
    )
    with pytest.raises(WrongRule) as error:
        load_rules(text, ACTIONS)
    assert [complaint.place for complaint in error.value.complaints] == [
        "rules[1].actions[0]",
        "rules[2].when.all[0].field",
    ]
    with pytest.raises(WrongRule, match=r"rules\[1\].name: 'a' is the name of rules\[0\] too"):
        load_rules(HEAD + HEAD.removeprefix("rules:\n"), ACTIONS)


def test_no_rules_are_a_list_too() -> None:
    assert load_rules(dump_rules([])) == ()
