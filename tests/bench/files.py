"""DICOM files for measuring: made by patching UIDs into one file, which is fast and stays valid."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from gateway.phantom import ct_phantom


@dataclass(frozen=True)
class Instance:
    """What a file is called by, and its first attributes; each value has always the same length."""

    study: str
    series: str
    instance: str
    patient_id: str
    patient_name: str
    study_date: str

    @property
    def path(self) -> str:
        """Of WADO-RS."""
        return f"/dicom-web/studies/{self.study}/series/{self.series}/instances/{self.instance}"

    @property
    def by_patient(self) -> str:
        """The QIDO-RS that finds its study."""
        return f"/dicom-web/studies?PatientID={self.patient_id}"

    def patched(self, template: bytes, made_of: Instance) -> bytes:
        """A file made of another that is called by `made_of`."""
        for name, value in vars(made_of).items():
            template = template.replace(value.encode(), getattr(self, name).encode())
        return template


def write_series(folder: Path, count: int, *, side: int) -> Instance:
    """`count` instances of side x side 16-bit pixels in one new series; the last of them."""
    folder.mkdir(parents=True)
    first = _instance(5_000_000 + uuid.uuid4().int % 5_000_000)
    template = _template(first, side)
    last = first
    for number in range(count):
        last = Instance(**{**vars(first), "instance": _uid()})
        (folder / f"{number}.dcm").write_bytes(last.patched(template, first))
    return last


def studies(first: int, count: int) -> list[tuple[Instance, bytes]]:
    """`count` studies of one tiny instance each, of patients with the numbers from `first` on."""
    model = _instance(0)
    template = _template(model, 8)
    instances = [_instance(number) for number in range(first, first + count)]
    return [(instance, instance.patched(template, model)) for instance in instances]


def write_studies(folder: Path, first: int, count: int) -> list[Instance]:
    """`studies` as files."""
    folder.mkdir(parents=True)
    made = studies(first, count)
    for number, (_, content) in enumerate(made):
        (folder / f"{number}.dcm").write_bytes(content)
    return [instance for instance, _ in made]


def _instance(number: int) -> Instance:
    date = f"2026{1 + number % 12:02}{1 + number % 28:02}"
    return Instance(_uid(), _uid(), _uid(), f"Q{number:07}", f"Query^{number:08}", date)


def _template(named: Instance, side: int) -> bytes:
    ds: Dataset = dcmread(BytesIO(ct_phantom(1)[0]))
    ds.StudyInstanceUID, ds.SeriesInstanceUID = named.study, named.series
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = named.instance
    ds.PatientID, ds.PatientName = named.patient_id, named.patient_name
    ds.StudyDate = named.study_date
    ds.SeriesDate = ds.ContentDate = "20251231"
    ds.Rows = ds.Columns = side
    ds.PixelData = bytes(side * side * 2)
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _uid() -> str:
    return f"2.25.{uuid.uuid4().int | 1 << 127}"
