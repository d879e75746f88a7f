"""What a DICOMweb source answers, and what it must not make us do."""

from __future__ import annotations

import pytest

from extensions.polling.dicomweb import only_part
from extensions.polling.errors import SourceUnavailable, StudyNotRetrieved
from extensions.polling.remote import seen

FILE = b"\0DICM\r\n\r\n--not-it\r\n"


@pytest.mark.parametrize("boundary", ["b1", '"b1"', '"b1"; type="application/dicom"'])
def test_the_one_part_of_an_answer_comes_out_as_it_went_in(boundary: str) -> None:
    body = b"--b1\r\nContent-Type: application/dicom\r\n\r\n" + FILE + b"\r\n--b1--\r\n"
    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    assert only_part(kind, body) == FILE


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/dicom", FILE),
        ("multipart/related; boundary=b1", b"--b1\r\n\r\n" + FILE),  # cut off
        ("multipart/related; boundary=b1", b""),
    ],
)
def test_an_answer_that_is_no_part_is_refused(kind: str, body: bytes) -> None:
    with pytest.raises(StudyNotRetrieved):
        only_part(kind, body)


def test_a_study_without_a_valid_uid_is_refused() -> None:
    with pytest.raises(SourceUnavailable):
        seen({}, [([{"StudyInstanceUID": ["../../instances"]}], True)])


def test_studies_of_several_searches_are_told_once() -> None:
    answer = {"StudyInstanceUID": ["1.2"], "NumberOfStudyRelatedInstances": ["7"]}
    found = seen({}, [([answer], True), ([answer], False)])
    assert [(study.study_instance_uid, study.instances) for study in found.studies] == [("1.2", 7)]
    assert not found.is_whole
