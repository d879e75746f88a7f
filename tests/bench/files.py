"""DICOM files for measuring: made by patching UIDs into one file, which is fast and stays valid."""

from __future__ import annotations

import uuid
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from gateway.phantom import ct_phantom


def write_series(folder: Path, count: int, *, side: int) -> Dataset:
    """`count` instances of side x side 16-bit pixels in one new series; the last data set."""
    folder.mkdir(parents=True)
    ds = dcmread(BytesIO(ct_phantom(1)[0]))
    ds.StudyInstanceUID, ds.SeriesInstanceUID = _uid(), _uid()
    ds.PatientID = f"B{uuid.uuid4().hex[:8]}"
    ds.Rows = ds.Columns = side
    ds.PixelData = bytes(side * side * 2)
    for number in range(count):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = _uid()
        ds.InstanceNumber = number + 1
        ds.save_as(folder / f"{number}.dcm")
    return ds


def write_studies(folder: Path, count: int) -> None:
    """`count` studies of one tiny instance each."""
    folder.mkdir(parents=True)
    ds = dcmread(BytesIO(ct_phantom(1)[0]))
    ds.Rows = ds.Columns = 8
    ds.PixelData = bytes(128)
    for number in range(count):
        ds.StudyInstanceUID, ds.SeriesInstanceUID = _uid(), _uid()
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = _uid()
        ds.PatientID, ds.PatientName = f"Q{number:05}", f"Query^{number:05}"
        ds.StudyDate = f"2026{1 + number % 12:02}{1 + number % 28:02}"
        ds.save_as(folder / f"{number}.dcm")


def _uid() -> str:
    return f"2.25.{uuid.uuid4().int}"
