"""What is left of a data set, by options."""

from __future__ import annotations

from datetime import date
from io import BytesIO

import pydicom
import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from tests.unit.extensions.anonymize.conftest import (
    KEYS,
    STUDY,
    Deidentify,
    code,
    item,
    make_dataset,
)


def test_the_patient_is_known_by_a_pseudonym_of_the_project(deidentify: Deidentify) -> None:
    left = deidentify(make_dataset())
    assert left.PatientID == left.PatientName == KEYS.patient("patient MRN-4711")
    assert (left.PatientBirthDate, left.PatientSex, left.AccessionNumber) == ("", "", "")


def test_a_patient_without_name_and_id_gets_one_too(deidentify: Deidentify) -> None:
    left = deidentify(make_dataset(PatientName="", PatientID=""))
    assert left.PatientID == KEYS.patient(f"study {STUDY}")


def test_two_studies_of_a_patient_keep_their_distance_in_days(deidentify: Deidentify) -> None:
    first = deidentify(make_dataset(), dates="shifted")
    second = deidentify(make_dataset(StudyDate="20260404"), dates="shifted")
    days = [date.fromisoformat(left.StudyDate) for left in (first, second)]
    assert (days[1] - days[0]).days == 31
    assert first.StudyDate != "20260304"
    assert first.StudyTime == "101112"
    assert first.PatientID == second.PatientID


def test_references_between_objects_still_hold(deidentify: Deidentify) -> None:
    slice_ = deidentify(make_dataset())
    other = deidentify(
        make_dataset(
            SOPInstanceUID=f"{STUDY}.2.1",
            SourceImageSequence=item(
                ReferencedSOPClassUID=CTImageStorage, ReferencedSOPInstanceUID=f"{STUDY}.1.1"
            ),
        )
    )
    (reference,) = other.SourceImageSequence
    assert reference.ReferencedSOPInstanceUID == slice_.SOPInstanceUID != f"{STUDY}.1.1"
    assert reference.ReferencedSOPClassUID == other.SOPClassUID == CTImageStorage
    assert other.StudyInstanceUID == slice_.StudyInstanceUID


def test_a_frame_of_reference_that_dicom_itself_defines_stays(deidentify: Deidentify) -> None:
    known = "1.2.840.10008.1.4.1.1"
    assert deidentify(make_dataset(FrameOfReferenceUID=known)).FrameOfReferenceUID == known


def test_a_name_in_any_sequence_is_replaced(deidentify: Deidentify) -> None:
    deep = item(ConceptNameCodeSequence=item(PersonName="Roe^Richard", CodeMeaning="of Doe"))
    left = deidentify(make_dataset(PerformedProtocolCodeSequence=deep))
    (inner,) = left.PerformedProtocolCodeSequence[0].ConceptNameCodeSequence
    assert inner.PersonName == "REMOVED"
    assert inner.CodeMeaning == "of"


def test_a_referenced_patient_of_another_id_is_another_pseudonym(deidentify: Deidentify) -> None:
    other = item(PatientID="MRN-1", PatientName="Roe^Richard")
    (left,) = deidentify(make_dataset(SourceImageSequence=other)).SourceImageSequence
    assert left.PatientID == left.PatientName == KEYS.patient("patient MRN-1")


def test_names_in_free_text_of_attributes_that_stay_are_taken_out(deidentify: Deidentify) -> None:
    left = deidentify(
        make_dataset(Manufacturer="Acme for MRN-4711", ImageType=["ORIGINAL", "JANE"])
    )
    assert left.Manufacturer == "Acme for"
    assert list(left.ImageType) == ["ORIGINAL", ""]


def test_private_and_unknown_attributes_are_removed(deidentify: Deidentify) -> None:
    dataset = make_dataset()
    dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", b"Doe ")
    dataset.add_new(0x00091001, "UN", b"Doe ")  # of no creator
    dataset.add_new(0x00181234, "UN", b"Doe ")  # in no dictionary
    left = deidentify(dataset, retain_safe_private=True)
    assert [tag for tag in left.keys() if tag.is_private or tag == 0x00181234] == []  # noqa: SIM118


def test_safe_private_attributes_stay_with_their_creator_if_asked(deidentify: Deidentify) -> None:
    def pet() -> Dataset:
        dataset = make_dataset()
        block = dataset.private_block(0x7053, "Philips PET Private Group", create=True)
        block.add_new(0x00, "DS", "0.5")
        block.add_new(0x01, "LO", "Doe")
        return dataset

    kept = deidentify(pet(), retain_safe_private=True)
    assert [str(e.value) for e in kept if e.tag.is_private] == ["Philips PET Private Group", "0.5"]
    assert not [e for e in deidentify(pet()) if e.tag.is_private]


@pytest.mark.parametrize(
    ("option", "tags"),
    [
        ("retain_device_identity", {"DeviceSerialNumber": "S-123456"}),
        ("retain_institution_identity", {"InstitutionName": "North Hospital"}),
        ("retain_patient_characteristics", {"PatientAge": "065Y", "PatientSex": "F"}),
        ("retain_uids", {"SeriesInstanceUID": f"{STUDY}.1"}),
    ],
)
def test_what_an_option_retains_stays_and_else_goes(
    deidentify: Deidentify, option: str, tags: dict[str, str]
) -> None:
    kept, gone = (
        deidentify(make_dataset(**tags), **{option: True}),
        deidentify(make_dataset(**tags)),
    )
    for keyword, value in tags.items():
        assert kept[keyword].value == value
        assert gone.get(keyword) != value


def test_a_description_is_removed_or_cleaned(deidentify: Deidentify) -> None:
    text = "CT Chest for Winterbottom"
    assert "StudyDescription" not in deidentify(make_dataset(StudyDescription=text))
    cleaned = deidentify(make_dataset(StudyDescription=text), clean_descriptors=True)
    assert cleaned.StudyDescription == "CT Chest for"


def report() -> Dataset:
    text = Dataset()
    text.RelationshipType, text.ValueType = "CONTAINS", "TEXT"
    text.ConceptNameCodeSequence = code("121071", "DCM", "Finding")
    text.TextValue = "Mass in left lung of Jane, seen by Winterbottom on 04.03.2026"
    name = Dataset()
    name.RelationshipType, name.ValueType, name.PersonName = "HAS OBS CONTEXT", "PNAME", "Roe^R"
    name.ConceptNameCodeSequence = code("X1", "99LOCAL", "Told by Winterbottom")
    return make_dataset(ContentSequence=Sequence([text, name]))


def test_a_report_is_a_dummy_or_keeps_its_structure_and_harmless_words(
    deidentify: Deidentify,
) -> None:
    (dummy,) = deidentify(report()).ContentSequence
    assert dummy.TextValue == "REMOVED"
    text, name = deidentify(report(), clean_structured_content=True).ContentSequence
    assert text.TextValue == "Mass in left lung of seen by on"
    assert text.ConceptNameCodeSequence[0].CodeMeaning == "Finding"
    assert name.PersonName == "REMOVED"
    assert name.ConceptNameCodeSequence[0].CodeMeaning == "by"


def test_annotations_keep_their_shapes_and_lose_their_text_and_overlays_go(
    deidentify: Deidentify,
) -> None:
    text = item(UnformattedTextValue="Jane")
    drawn = item(GraphicLayer="L1", TextObjectSequence=text)
    dataset = make_dataset(GraphicAnnotationSequence=drawn)
    dataset.add_new(0x60000010, "US", 8)
    dataset.add_new(0x60003000, "OW", b"\0" * 8)
    left = deidentify(dataset, clean_graphics=True)
    (annotation,) = left.GraphicAnnotationSequence
    assert annotation.GraphicLayer == "L1"
    assert annotation.TextObjectSequence[0].UnformattedTextValue == "REMOVED"
    assert not [tag for tag in left.keys() if tag.group == 0x6000]  # noqa: SIM118


def test_text_in_a_date_or_uid_neither_stays_nor_is_logged(
    deidentify: Deidentify, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = make_dataset()
    for tag, vr, value in (
        (0x00080032, "TM", b"1011 Doe"),
        (0x00080022, "DA", b"Doe "),
        (0x0008001A, "UI", b"1.2.Doe\0"),
    ):
        raw = RawDataElement(Tag(tag), vr, len(value), value, 0, False, True)
        dataset[Tag(tag)] = raw
    left = deidentify(dataset, dates="full")
    assert (left.AcquisitionTime, left.AcquisitionDate) == ("", "")
    assert left.RelatedGeneralSOPClassUID == ""
    assert "Doe" not in caplog.text


@pytest.mark.parametrize(
    ("dates", "said"), [("removed", "REMOVED"), ("shifted", "MODIFIED"), ("full", "UNMODIFIED")]
)
def test_the_copy_says_how_it_was_made(deidentify: Deidentify, dates: str, said: str) -> None:
    left = deidentify(make_dataset(), dates=dates, clean_graphics=True)
    assert left.PatientIdentityRemoved == "YES"
    assert left.LongitudinalTemporalInformationModified == said
    codes = [entry.CodeValue for entry in left.DeidentificationMethodCodeSequence]
    by_dates = {"removed": [], "shifted": ["113107"], "full": ["113106"]}[dates]
    assert codes == ["113100", "113103", *by_dates]
    assert all(len(text) <= 64 for text in left.DeidentificationMethod)


def test_a_copy_of_a_copy_does_not_claim_that_its_dates_were_never_moved(
    deidentify: Deidentify,
) -> None:
    moved = make_dataset(LongitudinalTemporalInformationModified="MODIFIED")
    left = deidentify(moved, dates="full")
    assert left.LongitudinalTemporalInformationModified == "MODIFIED"


def test_the_file_s_head_tells_nothing(deidentify: Deidentify) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, f"{STUDY}.1.1"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.SourceApplicationEntityTitle = "DOE_CT"
    meta.PrivateInformationCreatorUID, meta.PrivateInformation = "1.2.3", b"Doe^Jane"
    file = FileDataset(None, make_dataset(), preamble=b"Doe^Jane".ljust(128), file_meta=meta)
    buffer = BytesIO()
    deidentify(file).save_as(buffer, enforce_file_format=True)
    assert b"DOE" not in buffer.getvalue().upper()
    left = pydicom.dcmread(BytesIO(buffer.getvalue()))
    assert (
        left.file_meta.MediaStorageSOPInstanceUID == left.SOPInstanceUID == KEYS.uid(f"{STUDY}.1.1")
    )
    assert left.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
