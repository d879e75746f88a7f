from __future__ import annotations

import pytest

from extensions.routing.sending.name_pattern import STANDARD, NoName, name_of, safe
from tests.integration.routing.conftest import SERIES, STUDY, make_file


def test_a_file_is_named_by_its_tags() -> None:
    name = name_of(STANDARD, make_file(7, StudyDate="20240131"))
    assert str(name) == f"P1/20240131_{STUDY}/{SERIES}.7.dcm"


def test_an_absent_tag_leaves_a_word_and_not_an_empty_part() -> None:
    assert str(name_of("{AccessionNumber}/{SOPInstanceUID}", make_file(1))).startswith("none/")


@pytest.mark.parametrize(
    "value",
    ["../../etc/passwd", "/etc/passwd", "..", ".", ".ssh", "a\\b", "a\0b", "x" * 999, "~/x"],
)
def test_no_value_leads_elsewhere(value: str) -> None:
    part = safe(value)
    assert part
    assert len(part) <= 64
    assert not set(part) & set("/\\\0~")
    assert not part.startswith(".")
    file = make_file(1, PatientID=value.replace("\\", "/")[:64])
    name = name_of("{PatientID}/{SOPInstanceUID}", file)
    assert len(name.parts) == 2
    assert ".." not in name.parts


def test_what_is_no_dicom_file_has_no_name() -> None:
    with pytest.raises(NoName):
        name_of(STANDARD, b"PDF")
