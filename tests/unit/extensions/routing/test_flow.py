"""The way of a study through the rules, and what a try-out says of changed tags."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence

from extensions.routing.changes.tag_changes import MOST, TagChange, tag_changes
from extensions.routing.flow import branches_of
from extensions.routing.ledger import Delivery
from extensions.routing.runs import Run
from gateway.actions import Step

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MORPH = Step("morph", {"changes": [{"do": "remove", "tag": "PatientName"}]})
STEPS = (
    Step("forward", {"to": "A"}),
    MORPH,
    Step("forward", {"to": "A"}),
    Step("hold", {"reason": "Look."}),
    Step("forward", {"to": "B"}),
)


def run(state: str, next_step: int) -> Run:
    return Run(
        1, "north", "1.2", "", "R", 1, [], STEPS, next_step, "normal",
        state, "", 1, 1, NOW, NOW,  # type: ignore[arg-type]
    )  # fmt: skip


def delivery(number: int, to: str, *transforms: Step) -> Delivery:
    """Of which only this counts."""
    empty = dict.fromkeys(Delivery.__dataclass_fields__)
    known = {"delivery_id": number, "destination_name": to, "transforms": transforms}
    return Delivery(**(empty | known))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "next_step", "states"),
    [
        ("held", 3, ["done", "", "done", "held", "waiting"]),
        ("running", 4, ["done", "", "done", "done", "under way"]),
        ("failed", 2, ["done", "", "failed", "not done", "not done"]),
        ("discarded", 3, ["done", "", "done", "discarded", "not done"]),
        ("done", 5, ["done", "", "done", "done", "done"]),
    ],
)
def test_each_action_says_how_far_it_is(state: str, next_step: int, states: list[str]) -> None:
    ((branch,), _) = branches_of([run(state, next_step)], [], {"morph"})
    assert [stage.state for stage in branch.stages] == states


def test_a_delivery_stands_at_the_line_that_planned_it_by_what_was_done_to_the_copies() -> None:
    plain, changed, other = delivery(1, "A"), delivery(2, "A", MORPH), delivery(3, "C")
    (branch,), others = branches_of([run("held", 3)], [plain, changed, other], {"morph"})
    assert [stage.deliveries for stage in branch.stages[:3]] == [(plain,), (), (changed,)]
    assert others == [other]


@pytest.mark.parametrize(
    ("ran", "delivered", "shown"),
    [
        ("done", ["delivered", "waiting"], "done"),
        ("done", ["delivered", "failed", "held"], "held"),
        ("done", ["failed", "verified"], "failed"),
        ("done", ["cancelled"], "done"),
        ("running", ["held"], "running"),
    ],
)
def test_a_rule_is_not_done_while_a_delivery_of_it_is_held_or_has_failed(
    ran: str, delivered: list[str], shown: str
) -> None:
    deliveries = [
        replace(delivery(number, "A"), state=state)  # type: ignore[arg-type]
        for number, state in enumerate(delivered)
    ]
    ((branch,), _) = branches_of([run(ran, 5)], deliveries, {"morph"})
    assert branch.state == shown


def test_a_long_reason_is_cut() -> None:
    lines = [{"condition": str(n), "seen": [], "met": True} for n in range(20)]
    ((branch,), _) = branches_of([replace(run("done", 5), reason=lines)], [], set())
    assert len(branch.reasons) == 8


def instance(**tags: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    return dataset


def test_changed_added_and_removed_tags_are_told_in_their_order() -> None:
    before = instance(PatientName="Doe^Jane", PatientID="1", Modality="CT")
    after = instance(PatientID="2", Modality="CT", InstitutionName="")
    assert tag_changes(before, after)[0] == [
        TagChange("InstitutionName", None, ""),
        TagChange("PatientName", "Doe^Jane", None),
        TagChange("PatientID", "1", "2"),
    ]


def test_items_of_a_sequence_are_compared_one_by_one_where_there_are_as_many() -> None:
    def request(*numbers: str) -> Dataset:
        items = Sequence([instance(AccessionNumber=number) for number in numbers])
        return instance(RequestAttributesSequence=items)

    found, _ = tag_changes(request("1", "2"), request("1", "3"))
    assert found == [TagChange("RequestAttributesSequence[1].AccessionNumber", "2", "3")]
    found, _ = tag_changes(request("1"), request("1", "2"))
    assert found == [TagChange("RequestAttributesSequence", "(1 item)", "(2 items)")]


def test_what_is_long_or_much_is_cut_and_counted() -> None:
    (change,), total = tag_changes(instance(), instance(ImageComments="x" * 65))
    assert (len(change.after or ""), total) == (65, 1)
    many = Dataset()
    for number in range(MOST + 5):
        many.add_new(0x00191000 + number, "LO", "x")
    found, total = tag_changes(Dataset(), many)
    assert (len(found), total) == (MOST, MOST + 5)
