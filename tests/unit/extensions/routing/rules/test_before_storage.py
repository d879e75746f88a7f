from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)

from extensions.routing.changes.morph import CannotMorph
from extensions.routing.changes.original_attributes import revert
from extensions.routing.rules import before_storage_limits
from extensions.routing.rules.before_storage import Corrections, NotChangeable
from extensions.routing.rules.catching import WHEN_STABLE, caught
from extensions.routing.rules.complaints import WrongRule
from extensions.routing.rules.rule import RuleDocument, parse_rule
from extensions.routing.rules.rule_form import form_of
from extensions.routing.rules.rule_words import words_of
from extensions.routing.rules.rules_yaml import dump_rules, load_rules
from gateway.arriving import Sender
from gateway.phantom import ct_phantom

CT1 = Sender("CT1", "NORTH", "10.0.0.7")
FILE = ct_phantom(1, patient_name="Secret^Name")[0]
SET = {"do": "set", "tag": "InstitutionName", "value": "North Hospital"}


def rule(*changes: dict[str, Any], name: str = "A", **more: Any) -> RuleDocument:
    actions = [{"morph": {"changes": list(changes or [SET]), "reason": "CORRECT"}}]
    return parse_rule({"name": name, "trigger": "before storage", "actions": actions} | more)


def leaf(field: str, value: str, operator: str = "equals") -> dict[str, Any]:
    return {"when": {"field": field, "operator": operator, "value": value}}


def made(*rules: RuleDocument, file: bytes = FILE, sender: Sender = CT1) -> Dataset | None:
    """What is stored, or None: what was received."""
    changed = Corrections(rules)(file, sender)
    return dcmread(BytesIO(changed)) if changed else None


def institution(*rules: RuleDocument, sender: Sender = CT1) -> str | None:
    """The name that is stored; None: nothing was changed."""
    now = made(*rules, sender=sender)
    return None if now is None else str(now.InstitutionName)


def named(name: str, title: str = "A", **more: Any) -> RuleDocument:
    return rule({**SET, "value": name}, name=title, **more)


def test_the_stored_object_says_what_it_was_when_and_why() -> None:
    now = made(rule())
    assert now is not None
    assert now.InstitutionName == "North Hospital"
    (item,) = now.OriginalAttributesSequence
    assert item.ModifyingSystem == "ARGONATH before storage"
    assert item.ReasonForTheAttributeModification == "CORRECT"
    at = datetime.strptime(str(item.AttributeModificationDateTime), "%Y%m%d%H%M%S.%f%z")
    assert abs(datetime.now(UTC) - at) < timedelta(seconds=10)


def test_everything_else_is_as_it_was_received() -> None:
    now = made(rule())
    assert now is not None
    assert now.PixelData == dcmread(BytesIO(FILE)).PixelData
    assert revert(now) == 1
    restored = BytesIO()
    now.save_as(restored, enforce_file_format=True)
    assert restored.getvalue() == FILE


@pytest.mark.parametrize(
    ("condition", "met"),
    [
        (leaf("Modality", "CT"), True),
        (leaf("Modality", "MR"), False),
        (leaf("calling_aet", "CT1"), True),
        (leaf("called_aet", "SOUTH"), False),
        (leaf("sender", "10.0.*", "matches pattern"), True),
        (leaf("RequestAttributesSequence.AccessionNumber", "7"), False),
        (leaf('(0019,"ACME",10)', "7"), False),
        (leaf("time_of_day", "00:00", "at least"), True),
    ],
)
def test_a_rule_changes_what_meets_its_conditions(condition: dict[str, Any], met: bool) -> None:
    assert (made(rule(**condition)) is not None) == met


def test_a_private_element_is_found_by_its_creator() -> None:
    dataset = dcmread(BytesIO(FILE))
    dataset.private_block(0x0019, "ACME", create=True).add_new(0x10, "LO", "7")
    file = BytesIO()
    dataset.save_as(file)
    assert made(rule(**leaf('(0019,"ACME",10)', "7")), file=file.getvalue()) is not None


def test_what_a_condition_looks_at_is_not_written_anew() -> None:
    now = made(rule(**leaf("RescaleSlope", "1")))
    assert now is not None
    assert revert(now) == 1
    restored = BytesIO()
    now.save_as(restored, enforce_file_format=True)
    assert restored.getvalue() == FILE


def test_conditions_see_the_object_as_it_was_received_and_rules_go_in_order() -> None:
    first = named("First")
    second = named("Second", "B", when={"field": "InstitutionName", "operator": "absent"})
    assert institution(first, second) == "Second"
    assert institution(second, first) == "First"


def test_stop_and_fallback_are_as_for_other_triggers() -> None:
    other, last = named("Other", "B"), named("Last", "C", fallback=True)
    assert institution(named("First", stop=True), other, last) == "First"
    assert institution(named("First", **leaf("Modality", "MR")), last) == "Last"


def test_a_rule_of_another_trigger_or_that_is_off_changes_nothing() -> None:
    later = parse_rule({"name": "B", "actions": [{"morph": {"changes": [SET]}}]})
    assert made(later, rule(enabled=False)) is None


def test_a_study_that_is_here_does_not_begin_it() -> None:
    everything = caught([rule()], {"1.2.1": {}}, triggers=WHEN_STABLE, now=datetime.now(UTC))
    assert list(everything) == []


def test_a_change_without_effect_leaves_the_object_as_it_was_received() -> None:
    assert made(rule({"do": "set", "tag": "Modality", "value": "CT"})) is None


def test_what_cannot_be_changed_is_told_without_a_value() -> None:
    change = {"do": "map", "tag": "PatientName", "table": {"A": "B"}, "otherwise": "fail"}
    with pytest.raises(CannotMorph) as error:
        made(rule(change))
    assert "map PatientName" in str(error.value)
    assert "Secret" not in str(error.value)


@pytest.mark.parametrize("file", [b"", b"no DICOM", FILE[:200], FILE[132:]])
def test_what_cannot_be_read_is_not_stored(file: bytes) -> None:
    with pytest.raises(NotChangeable):
        made(rule(), file=file)


def encoded(syntax: str, **tags: Any) -> bytes:
    """The phantom in a transfer syntax, with something behind its pixels."""
    dataset = dcmread(BytesIO(FILE))
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    if syntax == JPEGBaseline8Bit:
        dataset.PixelData = encapsulate([b"\xff\xd8 frame \xff\xd9"])
        dataset["PixelData"].is_undefined_length = True
    dataset.add_new(0xFFFCFFFC, "OB", b"trailing")
    dataset.file_meta.TransferSyntaxUID = syntax
    written = BytesIO()
    syntax_of = UID(syntax)
    dataset.save_as(
        written,
        implicit_vr=syntax_of.is_implicit_VR,
        little_endian=syntax_of.is_little_endian,
        enforce_file_format=True,
    )
    return written.getvalue()


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        DeflatedExplicitVRLittleEndian,
        JPEGBaseline8Bit,
    ],
)
def test_pixels_and_what_is_behind_them_stay_in_every_encoding(syntax: str) -> None:
    file = encoded(syntax)
    now = made(rule(), file=file)
    assert now is not None
    assert now.file_meta.TransferSyntaxUID == syntax
    assert now.InstitutionName == "North Hospital"
    assert now.PixelData == dcmread(BytesIO(file)).PixelData
    assert now[0xFFFCFFFC].value == b"trailing"


@pytest.mark.parametrize(
    ("changes", "when"),
    [
        ([{"do": "remove", "tag": "DataSetTrailingPadding"}], {}),
        ([SET], {"when": {"field": "DataSetTrailingPadding", "operator": "exists"}}),
    ],
)
def test_what_is_behind_the_pixels_can_be_changed_and_looked_at(
    changes: list[dict[str, Any]], when: dict[str, Any]
) -> None:
    assert made(rule(*changes, **when), file=encoded(ExplicitVRLittleEndian)) is not None


def test_an_object_without_pixels_is_changed_too() -> None:
    dataset = dcmread(BytesIO(FILE))
    del dataset.PixelData
    file = BytesIO()
    dataset.save_as(file)
    now = made(rule(), file=file.getvalue())
    assert now is not None
    assert now.InstitutionName == "North Hospital"


# The rule's document ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({"actions": [{"forward": {"to": "archive"}}]}, "actions[0]"),
        ({"actions": [{"morph": {"changes": [SET]}}, {"crosswalk": {}}]}, "actions[1]"),
        ({"priority": "urgent"}, "priority"),
        (leaf("instance_count", "3"), "when.field"),
        (leaf("labels", "x"), "when.field"),
        (leaf("result.quality", "1"), "when.field"),
        (leaf("ModalitiesInStudy", "CT"), "when.field"),
        ({"when": {"any": [{"none": [leaf("series_count", "3")["when"]]}]}},
         "when.any[0].none[0].field"),
        ({"complete": {"instances": 3}}, "complete"),
    ],
)  # fmt: skip
def test_what_only_a_study_that_is_here_can_do_or_tell_is_refused(
    more: dict[str, Any], place: str
) -> None:
    with pytest.raises(WrongRule) as error:
        rule(**more)
    (complaint,) = error.value.complaints
    assert complaint.place == place
    assert "trigger" in complaint.told


def test_it_is_written_as_text_and_read_back_and_told_in_words() -> None:
    document = rule(**leaf("Modality", "CT"))
    assert load_rules(dump_rules([document])) == (document,)
    assert form_of(document) is None
    told = words_of(document)
    assert told.when == "Before an instance is stored and it has Modality equals CT"
    assert told.then == ("change tags: set InstitutionName North Hospital",)


@pytest.mark.parametrize(
    ("rules", "changes", "told"),
    [(32, 4, ""), (33, 1, "33 rules before storage"), (3, 43, "129 changes of tags")],
)
def test_a_tenant_cannot_keep_all_others_waiting_by_too_many(
    rules: int, changes: int, told: str
) -> None:
    actions = rule(*[SET] * changes).actions
    if not told:
        before_storage_limits.check_together([actions] * rules)
        return
    with pytest.raises(WrongRule, match=told):
        before_storage_limits.check_together([actions] * rules)
