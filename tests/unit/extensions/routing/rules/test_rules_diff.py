from __future__ import annotations

from extensions.routing.rules.rule import RuleDocument
from extensions.routing.rules.rules_diff import Change, diff
from tests.unit.extensions.routing.rule_samples import CT, document, leaf

MR = leaf("Modality", "equals", "MR")
HEAD = leaf("BodyPartExamined", "equals", "HEAD")


def lines(before: RuleDocument, after: RuleDocument) -> tuple[str, ...]:
    (change,) = diff([before], [after])
    assert (change.kind, change.name) == ("changed", before.name)
    return change.lines


def test_the_same_rules_have_no_difference() -> None:
    rules = [document("a", CT), document("b")]
    assert diff(rules, rules) == []


def test_what_is_new_and_what_is_gone_is_told_in_whole() -> None:
    told = (
        "trigger: study stable",
        "when: Modality equals CT",
        'actions: forward {"to": "archive"}',
    )
    assert diff([], [document("a", CT)]) == [Change("added", "a", told)]
    assert diff([document("a", CT)], []) == [Change("removed", "a", told)]


def test_a_changed_field_is_told_with_before_and_after() -> None:
    before = document("a", {"all": [CT]})
    assert lines(before, document("a", {"all": [CT]}, priority="urgent", enabled=False)) == (
        "enabled: true → false",
        "priority: normal → urgent",
    )
    assert lines(before, document("a", {"all": [MR]})) == ("when.all[0].value: CT → MR",)
    assert lines(before, document("a")) == ("when: - all of (Modality equals CT)",)
    assert lines(document("a"), document("a", CT)) == ("when: + Modality equals CT",)


def test_a_line_that_comes_or_goes_leaves_the_others_alone() -> None:
    two = document("a", {"all": [CT, HEAD]})
    three = document("a", {"all": [leaf("Rows", "at least", 256), CT, HEAD]})
    assert lines(two, three) == ("when.all[0]: + Rows at least 256",)
    assert lines(three, two) == ("when.all[0]: - Rows at least 256",)
    other = document("a", {"all": [CT, {"none": [MR, leaf("Rows", "exists")]}]})
    assert lines(two, other) == (
        "when.all[1]: BodyPartExamined equals HEAD → none of (Modality equals MR; Rows exists)",
    )


def test_actions_are_told_by_their_names() -> None:
    before = document("a")
    after = document("a", actions=[{"forward": {"to": "research"}}, {"forward": {"to": "b"}}])
    assert lines(before, after) == (
        "actions[0].forward.to: archive → research",
        'actions[1]: + forward {"to": "b"}',
    )


def test_a_rule_that_moved_is_told_and_no_other() -> None:
    a, b, c = (document(name) for name in "abc")
    assert diff([a, b, c], [c, a, b]) == [Change("moved", "c", ("now first",))]
    assert diff([a, b, c], [b, document("new"), c]) == [
        Change("removed", "a", diff([a], [])[0].lines),
        Change("added", "new", diff([], [a])[0].lines),
    ]
    assert diff([a, b, c], [b, c, a])[0].lines == ("now after 'c'",)
