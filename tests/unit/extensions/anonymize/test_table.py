"""What the options make of table E.1-1; the expected actions are read from PS3.15."""

from __future__ import annotations

import pytest
from pydicom.tag import Tag

from extensions.anonymize.options import Options
from extensions.anonymize.table import Act, safe_private, table_for


def act(tag: str | int, vr: str = "LO", **options: object) -> Act:
    number = Tag(tag) if isinstance(tag, str) else tag
    return table_for(Options.model_validate(options)).act(int(number), vr)


@pytest.mark.parametrize(
    ("keyword", "expected"),
    [
        ("AccessionNumber", Act.EMPTY),
        ("StudyDescription", Act.REMOVE),
        ("StudyInstanceUID", Act.UID),
        ("InstitutionName", Act.DUMMY),  # X/Z/D
        ("AcquisitionDate", Act.EMPTY),  # X/Z
        ("SeriesDate", Act.DUMMY),  # X/D
        ("UnformattedTextValue", Act.DUMMY),  # new in 2026
        ("SourceImageSequence", Act.KEEP),  # X/Z/U*: its UIDs are replaced
    ],
)
def test_the_basic_profile_is_the_standard_s(keyword: str, expected: Act) -> None:
    assert act(keyword) is expected


@pytest.mark.parametrize(
    ("option", "keyword", "expected"),
    [
        ("retain_uids", "SOPInstanceUID", Act.KEEP),
        ("retain_device_identity", "DeviceSerialNumber", Act.KEEP),
        ("retain_institution_identity", "InstitutionName", Act.KEEP),
        ("retain_patient_characteristics", "PatientSex", Act.KEEP),
        ("retain_patient_characteristics", "PatientAge", Act.KEEP),
        ("retain_patient_characteristics", "Allergies", Act.CLEAN),
        ("clean_descriptors", "StudyDescription", Act.CLEAN),
        ("clean_descriptors", "UnformattedTextValue", Act.CLEAN),
        ("clean_structured_content", "ContentSequence", Act.CLEAN),
        ("clean_graphics", "GraphicAnnotationSequence", Act.CLEAN),
    ],
)
def test_an_option_changes_what_its_column_says(option: str, keyword: str, expected: Act) -> None:
    assert act(keyword) is not expected
    assert act(keyword, **{option: True}) is expected


def test_dates_are_kept_or_moved_by_option_but_a_birth_date_never_stays() -> None:
    assert act("StudyDate", dates="full") is Act.KEEP
    assert act("StudyDate", dates="shifted") is Act.SHIFT
    for dates in ("removed", "shifted", "full"):
        assert act("PatientBirthDate", dates=dates) is Act.EMPTY


def test_a_date_of_the_device_moves_even_where_the_device_is_retained() -> None:
    options = {"retain_device_identity": True, "dates": "shifted"}
    assert act("DateOfLastCalibration", "DA", **options) is Act.SHIFT


def test_curves_and_overlays_are_listed_in_every_group() -> None:
    assert act(0x60023000, "OW") is act(0x601E0010, "US") is Act.REMOVE
    assert act(0x50040005, "US") is Act.REMOVE


@pytest.mark.parametrize(
    ("tag", "vr", "expected"),
    [
        ("Rows", "US", Act.KEEP),
        ("SOPClassUID", "UI", Act.KEEP),
        ("TextValue", "UT", Act.DUMMY),
        (0x00181234, "LO", Act.REMOVE),  # in no dictionary
        (0x0028FFFE, "UN", Act.REMOVE),
    ],
)
def test_what_the_table_does_not_list_stays_only_if_it_is_known_and_not_free(
    tag: str | int, vr: str, expected: Act
) -> None:
    assert act(tag, vr) is expected


def test_safe_private_attributes_are_those_of_the_standard() -> None:
    assert safe_private()["Philips PET Private Group", 0x7053, 0x00] == "DS"
    assert ("SIEMENS MR HEADER", 0x0019, 0x0C) in safe_private()
    assert ("SIEMENS CSA HEADER", 0x0029, 0x10) not in safe_private()
