"""Free text: names of the object never stay; cleaned text has only harmless words."""

from __future__ import annotations

import pytest

from extensions.anonymize.words import Identifying

DOE = Identifying(["Doe", "Jane", "山田"], ["MRN-4711", "20260304"])


def scrub(text: str) -> str:
    return DOE.scrub(text, lambda uid: "2.25.1")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("CT of DOE, jane", "CT of ,"),
        ("doe_jane_2", "__2"),
        ("Doer of deeds", "Doer of deeds"),
        ("ID MRN-4711 on 20260304", "ID on"),
        ("MRN-47110", "MRN-47110"),
        ("患者山田太郎", "患者太郎"),
        ("see 1.2.826.0.1.3680043.8", "see 2.25.1"),
        ("version 1.2.3", "version 1.2.3"),
        ("two  spaces", "two  spaces"),
    ],
)
def test_names_numbers_and_uids_are_taken_out_of_text(text: str, left: str) -> None:
    assert scrub(text) == left


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("CT Chest with contrast 5mm", "CT Chest with contrast 5mm"),
        ("T1 SAG brain, Miss Winterbottom", "T1 SAG brain"),
        ("Head 12.03.1957", "Head"),
        ("Abdomen 0171 5551234", "Abdomen"),
        ("chest of Jane", "chest of"),
        ("Müller", ""),
    ],
)
def test_cleaned_text_has_only_words_of_dicom_and_small_numbers(text: str, left: str) -> None:
    assert DOE.clean(text) == left


def test_a_name_that_is_also_a_word_of_dicom_is_taken_out_of_cleaned_text() -> None:
    assert Identifying(["Head"], []).clean("Head and neck") == "and neck"


def test_a_coded_term_stays_unless_it_holds_a_name() -> None:
    told = Identifying(["Head", "Winterbottom", "HFS"], [])
    assert told.scrub_term("HEAD") == "HEAD"
    assert told.scrub_term("HFS") == "HFS"
    assert told.scrub_term("WINTERBOTTOM_1") == ""
