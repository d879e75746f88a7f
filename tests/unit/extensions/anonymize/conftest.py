"""A data set with something to hide in every corner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage

from extensions.anonymize.options import Options
from extensions.anonymize.profile import apply
from extensions.anonymize.pseudonyms import Keys
from extensions.anonymize.table import table_for

KEYS = Keys("LUNG", "5e" * 32)
STUDY = "1.2.826.0.1.3680043.8.498.77"


def make_dataset(**tags: Any) -> Dataset:
    """A CT slice of Jane Doe, born 1961-02-03, of 2026-03-04."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, f"{STUDY}.1.1"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = STUDY, f"{STUDY}.1"
    dataset.PatientName, dataset.PatientID = "Doe^Jane", "MRN-4711"
    dataset.PatientBirthDate, dataset.PatientSex = "19610203", "F"
    dataset.StudyDate = dataset.AcquisitionDate = "20260304"
    dataset.StudyTime = "101112"
    dataset.AccessionNumber, dataset.Modality = "ACC-0815", "CT"
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    return dataset


def item(**tags: Any) -> Sequence:
    """A sequence of one item."""
    dataset = Dataset()
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    return Sequence([dataset])


def code(value: str, scheme: str, meaning: str) -> Sequence:
    return item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


type Deidentify = Callable[..., Dataset]


@pytest.fixture
def deidentify() -> Deidentify:
    """De-identifies a data set by options."""
    return lambda dataset, **options: apply(dataset, table_for(Options(**options)), KEYS)
