"""A hospital with patients of our own invention, to look at the portal with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

SIZE = 192
CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",
    "MG": "1.2.840.10008.5.1.4.1.1.1.2",
    "US": "1.2.840.10008.5.1.4.1.1.6.1",
    "SR": "1.2.840.10008.5.1.4.1.1.88.67",
}


@dataclass(frozen=True)
class Exam:
    """A study: from which station, of whom, what, and its series (description, instances)."""

    station: str
    patient: str
    patient_id: str
    date: str
    description: str
    modality: str
    series: tuple[tuple[str, int], ...]

    @property
    def study_uid(self) -> str:
        return str(generate_uid(entropy_srcs=[self.patient_id, self.date, self.description]))


EXAMS = (
    Exam("MR_2", "Novák^Tomáš", "RH-100418", "20261112", "Knee right", "MR", (("PD fs cor", 4),)),
    Exam("US_3", "Haddad^Layla", "RH-100532", "20261113", "Abdomen", "US", (("Liver", 3),)),
    Exam("MAMMO", "Kowalska^Zofia", "RH-100977", "20261116", "Screening mammography", "MG",
         (("L CC", 1), ("R CC", 1), ("L MLO", 1), ("R MLO", 1))),
    Exam("CT_1", "Okonkwo^Chidi", "RH-101206", "20261117", "CT thorax", "CT", (("Lung 1.0", 8),)),
    Exam("XRAY_ER", "O'Brien^Siobhán", "RH-101334", "20261118", "Wrist left, 2 views", "DX",
         (("AP", 1), ("Lateral", 1))),
    Exam("MR_2", "Müller^Jörg", "RH-101577", "20261118", "Head, contrast", "MR",
         (("T1 sag", 4), ("T2 tra", 5), ("FLAIR tra", 5))),
    Exam("CT_1", "Wang^Xiaodong=王^小东", "RH-101622", "20261119", "CT abdomen", "CT",
         (("Portal venous 3.0", 9),)),
    Exam("XRAY_ER", "Hernández^Íñigo", "RH-101700", "20261119", "Chest PA", "DX", (("PA", 1),)),
    Exam("MR_2", "Yamada^Tarou=山田^太郎", "RH-101745", "20261120", "Head", "MR",
         (("T2 tra", 5), ("DWI", 6))),
    Exam("XRAY_ER", "Dubois^Hélène", "RH-101802", "20261120", "Chest PA and lateral", "DX",
         (("PA", 1), ("Lateral", 1))),
    Exam("US_3", "Silva Nascimento^Beatriz Aparecida", "RH-101811", "20261121", "Thyroid", "US",
         (("Thyroid", 4),)),
    Exam("CT_1", "Lindqvist^Åsa", "RH-101836", "20261121", "CT head, trauma", "CT",
         (("Topogram", 1), ("Brain 4.0", 10), ("Bone 1.0", 10), ("Dose report", 1))),
)  # fmt: skip


def write(exam: Exam, folder: Path) -> list[Path]:
    """The files of a study."""
    files = []
    for index, content in enumerate(_instances(exam)):
        file = folder / f"{exam.patient_id}-{index}.dcm"
        file.write_bytes(content)
        files.append(file)
    return files


def _instances(exam: Exam) -> Iterator[bytes]:
    for number, (description, count) in enumerate(exam.series, 1):
        modality = "SR" if "report" in description else exam.modality
        for index in range(count):
            ds = Dataset()
            ds.file_meta = FileMetaDataset()
            ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            ds.SpecificCharacterSet = "ISO_IR 192"
            ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = CLASSES[modality]
            ds.SOPInstanceUID = generate_uid(entropy_srcs=[exam.study_uid, f"{number} {index}"])
            ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
            ds.StudyInstanceUID = exam.study_uid
            ds.SeriesInstanceUID = generate_uid(entropy_srcs=[exam.study_uid, f"series {number}"])
            ds.PatientName, ds.PatientID = exam.patient, exam.patient_id
            ds.StudyDate, ds.StudyTime, ds.StudyID = exam.date, "081500", "1"
            ds.AccessionNumber = f"A{exam.patient_id[-6:]}"
            ds.StudyDescription, ds.SeriesDescription = exam.description, description
            ds.Modality, ds.StationName = modality, exam.station
            ds.SeriesNumber, ds.InstanceNumber = number, index + 1
            if modality != "SR":
                _add_pixels(ds, _picture(exam.modality, (index + 1) / (count + 1), number))
            buffer = BytesIO()
            ds.save_as(buffer, enforce_file_format=True)
            yield buffer.getvalue()


def _add_pixels(ds: Dataset, picture: NDArray[np.float64]) -> None:
    ds.Rows, ds.Columns = picture.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.WindowCenter, ds.WindowWidth = 2048, 4096
    ds.PixelData = (picture.clip(0, 1) * 4095).astype("<u2").tobytes()


def _picture(modality: str, level: float, seed: int) -> NDArray[np.float64]:
    """Something that looks like its modality from afar, values 0 to 1; `level`: which slice."""
    noise = np.random.default_rng(seed).normal(0, 0.02, (SIZE, SIZE))
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]

    def oval(cx: float, cy: float, rx: float, ry: float) -> NDArray[np.float64]:
        return 0.5 - 0.5 * np.tanh(20 * (np.hypot((x - cx) / rx, (y - cy) / ry) - 1))

    if modality == "US":
        depth, angle = np.hypot(x, y + 1.1), np.arctan2(x, y + 1.1)
        fan = (np.abs(angle) < 0.6) & (depth > 0.25) & (depth < 2)
        return fan * (0.35 + 6 * noise - 0.25 * oval(0.1, 0.1 + 0.2 * level, 0.35, 0.25))
    if modality == "MG":
        side = 1 if seed % 2 else -1
        breast = oval(-side, 0.1, 1.4, 0.85)
        return breast * (0.35 + 3 * noise + 0.3 * oval(-0.5 * side, 0.1, 0.5, 0.4))
    if modality == "DX":
        lungs = oval(-0.38, 0, 0.28, 0.6) + oval(0.38, 0, 0.28, 0.6)
        ribs = 0.08 * np.sin(22 * (y + 0.4 * x**2)) * lungs
        return (
            0.75 * oval(0, 0.3, 0.95, 1.2) - 0.5 * lungs + ribs + 0.2 * oval(0, 0, 0.1, 1) + noise
        )
    width = 0.72 * np.sin(np.pi * (0.25 + 0.5 * level))
    skull, inside = oval(0, 0, width, width * 1.2), oval(0, 0, width * 0.9, width * 1.1)
    folds = 0.06 * np.sin(24 * np.hypot(x, y) + 5 * np.sin(4 * np.arctan2(y, x) + seed))
    ventricles = oval(-0.1, 0, 0.07, 0.25 * level + 0.05) + oval(0.1, 0, 0.07, 0.25 * level + 0.05)
    bone, brain = (0.95, 0.45) if modality == "CT" else (0.25, 0.6)
    return bone * (skull - inside) + inside * (brain + folds + noise - 0.3 * ventricles)
