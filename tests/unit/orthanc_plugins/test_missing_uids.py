from io import BytesIO

import pytest
from pydicom import Dataset, FileMetaDataset, dcmread
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from orthanc_plugins.missing_uids import received
from orthanc_plugins.sdk import Origin, Received

KEPT = (Received.KEEP_AS_IS, None)
SYNTAXES = [
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
]


def file(syntax: str = ExplicitVRLittleEndian, **tags: str | None) -> bytes:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, "1.2.3"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2", "1.2.1"
    dataset.PatientName, dataset.PixelData = "Doe^Jane", bytes(100)
    dataset["PixelData"].VR = "OW"
    for keyword, value in tags.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    written = BytesIO()
    dataset.save_as(written, enforce_file_format=True)
    return written.getvalue()


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_file_with_its_uids_is_kept_in_every_encoding(syntax: str) -> None:
    assert received(file(syntax), Origin.DICOM_PROTOCOL) == KEPT


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("value", ["", None])
@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_a_file_without_one_becomes_an_object_whose_uids_are_none(
    syntax: str, keyword: str, value: str | None
) -> None:
    action, replaced = received(file(syntax, **{keyword: value}), Origin.DICOM_PROTOCOL)
    assert action == Received.MODIFY
    found = dcmread(BytesIO(replaced or b""))
    with pytest.warns(UserWarning, match="Invalid value for VR UI: 'missing'"):
        uids = (found.StudyInstanceUID, found.SeriesInstanceUID)
    assert uids == ("missing", "missing")
    assert "PatientName" not in found


def test_uids_far_behind_the_beginning_are_found() -> None:
    assert received(file(StrainAdditionalInformation="y" * 70_000), 2) == KEPT


def test_what_is_no_dicom_is_left_to_orthanc() -> None:
    assert received(b"no DICOM at all", Origin.DICOM_PROTOCOL) == KEPT


def test_what_comes_by_http_is_admitted_elsewhere() -> None:
    assert received(file(StudyInstanceUID=""), 4) == KEPT
