"""The JSON beside an image."""

from __future__ import annotations

import json

import pytest

from extensions.polling.sidecar import Rejected, parse

GOOD = {"PatientID": "P1", "PatientName": "Doe^Jane"}


def said(**more: object) -> bytes:
    return json.dumps(GOOD | more).encode()


def test_days_and_times_may_be_written_as_people_write_them() -> None:
    sidecar = parse(said(StudyDate="2026-11-21", StudyTime="14:30:00", PatientBirthDate="19800229"))
    assert (sidecar.StudyDate, sidecar.StudyTime) == ("20261121", "143000")


def test_names_may_be_in_any_script() -> None:
    assert parse(said(PatientName="Yamada^Tarou=山田^太郎")).PatientName.endswith("太郎")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("PatientID", ""),
        ("PatientID", 7),
        ("PatientID", "x" * 65),
        ("PatientID", "a\\b"),
        ("PatientID", "a\nb"),
        ("PatientName", "x" * 65),
        ("PatientSex", "female"),
        ("StudyDate", "20260230"),
        ("StudyTime", "2560"),
        ("StudyInstanceUID", "1.02.3"),
        ("StudyInstanceUID", "1.2." + "3" * 64),
        ("StudyInstanceUID", "../../etc"),
        ("SeriesNumber", -1),
        ("SeriesNumber", "1"),
        ("Modality", "xc"),
        ("ConversionType", "PHOTO"),
        ("Colour", "red"),
        ("patientid", "P1"),
    ],
)
def test_a_wrong_field_is_named_with_a_cure(field: str, value: object) -> None:
    with pytest.raises(Rejected) as caught:
        parse(said(**{field: value}))
    (complaint,) = caught.value.complaints
    assert complaint.where == field
    assert complaint.what
    assert complaint.cure


def test_every_error_is_told_at_once_and_none_repeats_what_stood_there() -> None:
    content = b'{"PatientName": "Secret\\\\Name", "StudyDate": "Secret", "Sex": "M"}'
    with pytest.raises(Rejected) as caught:
        parse(content)
    complaints = caught.value.complaints
    assert {c.where for c in complaints} == {"PatientID", "PatientName", "StudyDate", "Sex"}
    assert "Secret" not in json.dumps([c.as_json() for c in complaints])


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b"\xff\xfe", b"null", b"[" * 60000, b'{"a":' * 9000, b" " * 70000, b"NaN"],
)
def test_what_is_no_object_is_refused(content: bytes) -> None:
    with pytest.raises(Rejected):
        parse(content, "a.json")
