"""Whom a study is about, by the tags of its series; and what the action refuses."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from extensions.anonymize import action
from extensions.anonymize.options import Options
from extensions.anonymize.person import Person
from extensions.anonymize.projects import Project
from extensions.anonymize.worker import rule_actions
from gateway.actions import Actions, NeedsPerson, Step
from gateway.errors import InvalidInput, NotFound
from tests.unit.extensions.anonymize.conftest import KEYS, STUDY, make_dataset

JANE = Person("MRN-4711", "Doe^Jane", "19610203", STUDY)
LUNG = Project(1, KEYS.project, Options(), KEYS.secret, datetime.now(UTC))


def head(patient_id: str) -> dict[str, Any]:
    return {
        "00100020": {"vr": "LO", "Value": [patient_id]},
        "00100010": {
            "vr": "PN",
            "Value": [{"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎"}],
        },
        "00100030": {"vr": "DA"},
    }


def test_the_patient_is_who_the_archive_says() -> None:
    found = action._person([head("P1"), head("P1")], STUDY)
    assert found == Person("P1", "Yamada^Tarou=山田^太郎", "", STUDY)


def test_a_study_of_two_patients_waits_for_a_person() -> None:
    with pytest.raises(NeedsPerson, match="more than one patient ID"):
        action._person([head("P1"), head("P2")], STUDY)


def test_a_study_that_is_gone_is_not_found() -> None:
    with pytest.raises(NotFound):
        action._person([], STUDY)


def test_names_of_the_archive_go_also_where_a_line_before_has_changed_them() -> None:
    change = action.change_for(LUNG, JANE, "")
    morphed = make_dataset(PatientName="X", PatientID="CROSSWALK-1", Manufacturer="by Jane")
    left = change(morphed)
    assert left.PatientID == KEYS.patient(JANE.identity)
    assert left.Manufacturer == "by"


def test_burned_in_text_is_refused_unless_the_project_lets_it_pass() -> None:
    with pytest.raises(NeedsPerson):
        action.change_for(LUNG, JANE, "")(make_dataset(BurnedInAnnotation="YES"))
    lenient = replace(LUNG, options=Options(burned_in="pass"))
    left = action.change_for(lenient, JANE, "")(make_dataset(BurnedInAnnotation="YES"))
    assert left.BurnedInAnnotation == "YES"


def test_a_rule_names_the_project() -> None:
    known = Actions(rule_actions())
    assert known.parse(Step("anonymize", {"project": "LUNG"}))[0] is action.ANONYMIZE
    for wrong in ({}, {"project": "lung cancer"}, {"project": "LUNG", "dates": "full"}):
        with pytest.raises(InvalidInput):
            known.parse(Step("anonymize", wrong))
