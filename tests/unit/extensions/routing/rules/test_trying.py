"""What a draft would do, beside what the live rules do: with a study, and with one file."""

from __future__ import annotations

from datetime import datetime
from io import BytesIO
from typing import Any

import pytest

from extensions.routing.rules import trying_file
from extensions.routing.rules.facts import Facts
from extensions.routing.rules.rule import RuleDocument, parse_rule
from extensions.routing.rules.trying import MOST_SHOWN, Report, deeds_of, look_at
from extensions.routing.rules.trying_file import Planned
from gateway.errors import InvalidInput
from gateway.phantom import ct_phantom
from tests.unit.extensions.routing.rule_samples import CT, document, leaf

NOON = datetime(2024, 1, 31, 12, 0)  # noqa: DTZ001  what a clock on the wall shows
SERIES: Facts = {"Modality": ["CT"], "NumberOfSeriesRelatedInstances": [3]}
TRANSFORMS = {"morph", "anonymize"}
MR = leaf("Modality", "equals", "MR")


def to(name: str, place: str, when: dict[str, Any] | None = None, **more: Any) -> RuleDocument:
    return document(name, when, actions=[{"forward": {"to": place}}], **more)


def doing(*actions: dict[str, Any], **more: Any) -> list[str]:
    rule = parse_rule({"name": "A", "actions": list(actions), **more})
    return [deed.told for deed in deeds_of(rule, TRANSFORMS)]


def looked(
    draft: list[RuleDocument], live: list[RuleDocument], studies: int = 1, modality: str = "CT"
) -> Report:
    report = Report()
    for number in range(studies):
        series = {"1": {**SERIES, "Modality": [modality]}}
        look_at(
            report, f"1.2.{number}", series, draft=draft, live=live,
            transforms=TRANSFORMS, now=NOON,
        )  # fmt: skip
    return report


def test_what_a_rule_does_is_told_in_its_order_with_what_changes_before() -> None:
    forward = {"forward": {"to": "archive"}}
    assert doing(forward, {"morph": {}}, {"anonymize": {}}, {"forward": {"to": "research"}}) == [
        "forward to archive",
        "forward to research after morph, anonymize",
    ]
    assert doing({"morph": {}}, {"hold": {}}, forward) == ["hold", "forward to archive after morph"]


def test_nothing_is_done_after_a_discard() -> None:
    assert doing({"discard": {}}, {"forward": {"to": "archive"}}) == ["discard"]


def test_a_study_that_matches_is_listed_also_if_live_rules_do_the_same() -> None:
    rules = [to("Second", "research", CT), to("First", "archive")]
    report = looked(rules, rules)
    assert (report.matching, report.differing, report.different) == (1, 0, [])
    (told,) = report.alike
    assert told.rules == ("Second", "First")
    assert told.does == told.live == ("forward to research", "forward to archive")


def test_a_study_that_only_live_rules_catch_is_listed_as_different_and_matches_not() -> None:
    report = looked([to("A", "archive", MR)], [to("A", "archive")])
    assert (report.matching, report.lost, report.differing) == (0, 1, 1)
    (told,) = report.different
    assert (told.rules, told.does, told.live) == ((), (), ("forward to archive",))


def test_a_study_that_nothing_catches_is_not_listed() -> None:
    report = looked([to("A", "archive", MR)], [to("A", "archive", MR)])
    assert (report.matching, report.lost, report.different, report.alike) == (0, 0, [], [])


def test_a_rule_on_demand_matches_and_does_nothing_by_itself() -> None:
    report = looked([to("Ask", "archive", trigger="on demand")], [])
    (told,) = report.alike
    assert (told.rules, told.does) == (("Ask",), ())


def test_each_list_is_cut_and_the_counts_are_not() -> None:
    report = looked([to("A", "archive")], [], studies=MOST_SHOWN + 5)
    assert (report.matching, len(report.different)) == (MOST_SHOWN + 5, MOST_SHOWN)


def planned(draft: list[RuleDocument], live: list[RuleDocument]) -> list[Planned]:
    of_file = trying_file.facts_of(trying_file.read(BytesIO(ct_phantom(1)[0])))
    would, does = (trying_file.verdicts_of(rules, of_file, NOON) for rules in (draft, live))
    return trying_file.planned(would, does, TRANSFORMS)


def test_what_only_live_rules_do_with_a_file_stands_after_what_the_draft_does() -> None:
    draft = [to("B", "research"), to("A", "archive", CT), to("MR", "mr", MR)]
    told = planned(draft, [to("A", "archive"), to("Old", "old")])
    assert [(each.rule, each.deed.to, each.draft, each.live) for each in told] == [
        ("B", "research", True, False),
        ("A", "archive", True, True),
        ("Old", "old", False, True),
    ]


def test_a_rule_that_is_stopped_by_an_earlier_one_does_nothing_with_the_file() -> None:
    draft = [to("First", "archive", stop=True), to("Second", "research")]
    assert [each.rule for each in planned(draft, [])] == ["First"]


def test_what_a_person_would_have_to_ask_for_says_so() -> None:
    (told,) = planned([to("Ask", "archive", trigger="on demand")], [])
    assert told.asked


def test_the_rules_that_the_live_ones_decide_otherwise_stand_first() -> None:
    of_file = trying_file.facts_of(trying_file.read(BytesIO(ct_phantom(1)[0])))
    rules = [to("Off", "x", MR), to("Same", "x"), to("Other", "x", CT), to("New", "x", MR)]
    draft = trying_file.verdicts_of(rules, of_file, NOON)
    live = [to("Off", "y", MR), to("Same", "y"), to("Other", "x", MR)]
    compared = trying_file.compared(draft, trying_file.verdicts_of(live, of_file, NOON))
    assert [(one.verdict.rule.name, one.differs) for one in compared] == [
        ("Other", True),
        ("New", True),
        ("Same", False),
        ("Off", False),
    ]
    assert [one.verdict.rule.name for one in compared if one.live is None] == ["New"]


def test_what_is_no_dicom_is_refused_without_its_words() -> None:
    with pytest.raises(InvalidInput, match="no DICOM file") as refusal:
        trying_file.read(BytesIO(b"Doe^Jane"))
    assert "Doe" not in str(refusal.value)
