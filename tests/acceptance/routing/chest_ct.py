"""A chest CT of a patient of our own invention, who is named wherever a modality may name one."""

from __future__ import annotations

import subprocess
import uuid
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread

from gateway.phantom import ct_phantom

SLICES = 3
TAGS: dict[str, Any] = {
    "PatientName": "Harrower^Imogen",
    "PatientID": "MRN-904178",
    "PatientBirthDate": "19610917",
    "PatientComments": "Ms Harrower was here on 17 March.",
    "OtherPatientNames": "Ashgrove^Imogen",
    "StudyDate": "20260317",
    "SeriesDate": "20260317",
    "ContentDate": "20260317",
    "AcquisitionDateTime": "20260317081544",
    "ReferringPhysicianName": "Castellano^Bruno",
    "InstitutionName": "Old Infirmary",
    "StationName": "ERCT7",
    "DeviceSerialNumber": "SN-55120",
    "StudyID": "ST-7316",
    "StudyDescription": "CT chest Harrower",
    "BodyPartExamined": "CHEST",
    "ContrastBolusAgent": "Iohexol",
}
# What tells who was examined, where and when; beside it the accession number and the UIDs do.
TELLING = (
    "Harrower", "Imogen", "Ashgrove", "Castellano", "Bruno", "MRN-904178", "904178", "19610917",
    "20260317", "17 March", "Old Infirmary", "ERCT7", "SN-55120", "ST-7316",
)  # fmt: skip
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID")


@dataclass(frozen=True)
class Examination:
    """The files of a study."""

    files: tuple[Path, ...]
    accession_number: str

    @property
    def datasets(self) -> dict[str, Dataset]:
        """What was made, by SOPInstanceUID."""
        return {str(dataset.SOPInstanceUID): dataset for dataset in map(dcmread, self.files)}

    @property
    def study_uid(self) -> str:
        """StudyInstanceUID."""
        return str(dcmread(self.files[0]).StudyInstanceUID)

    @property
    def telling(self) -> set[str]:
        """Everything that must not be in a copy without names."""
        uids = {str(ds[keyword].value) for ds in self.datasets.values() for keyword in _UIDS}
        return {*TELLING, *uids, self.accession_number}


def chest_ct(folder: Path, accession_number: str, **tags: Any) -> Examination:
    """Make one; a tag of None is left out."""
    folder.mkdir(parents=True)
    files = []
    for number, content in enumerate(ct_phantom(SLICES, seed=uuid.uuid4().hex)):
        dataset = dcmread(BytesIO(content))
        for keyword, value in {**TAGS, "AccessionNumber": accession_number, **tags}.items():
            if value is not None:
                setattr(dataset, keyword, value)
        request = Dataset()
        request.AccessionNumber, request.RequestingPhysician = accession_number, "Castellano^Bruno"
        dataset.RequestAttributesSequence = [request]
        dataset.private_block(0x0029, "HARROWER NOTES", create=True).add_new(1, "LO", "MRN-904178")
        files.append(folder / f"{number}.dcm")
        dataset.save_as(files[-1])
    return Examination(tuple(files), accession_number)


def dumped(file: Path) -> str:
    """A file as dcmtk's dcmdump shows it, long values in whole."""
    command = ["/usr/bin/dcmdump", "+L", file]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def objects_in(folder: Path) -> dict[Path, Dataset]:
    """The DICOM files in a receiver's folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path: dcmread(path) for path in files if path.read_bytes()[128:132] == b"DICM"}
