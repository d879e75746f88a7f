"""A CT phantom of our own making: a study to try the gateway with, of no patient."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SIZE = 128
AIR, WATER, BONE = 0, 1024, 1900


def ct_phantom(
    slices: int = 12,
    *,
    seed: str = "argonath phantom",
    patient_name: str = "Phantom^Argonath",
    patient_id: str = "PHANTOM-1",
) -> list[bytes]:
    """A CT series of a cylinder with rods, `slices` DICOM files; the same seed, the same UIDs."""
    study = _study(seed, patient_name, patient_id)
    return [_slice(study, seed, index) for index in range(slices)]


def _study(seed: str, patient_name: str, patient_id: str) -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName, ds.PatientID = patient_name, patient_id
    ds.PatientBirthDate, ds.PatientSex = "", "O"
    ds.StudyInstanceUID = generate_uid(entropy_srcs=[seed, "study"])
    ds.SeriesInstanceUID = generate_uid(entropy_srcs=[seed, "series"])
    ds.FrameOfReferenceUID = generate_uid(entropy_srcs=[seed, "frame"])
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = "20260101"
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = "120000"
    ds.AccessionNumber, ds.StudyID, ds.SeriesNumber = "", "1", 1
    ds.ReferringPhysicianName, ds.Manufacturer = "", "Argonath"
    ds.StudyDescription, ds.SeriesDescription = "Phantom", "Cylinder with rods"
    ds.Modality, ds.SOPClassUID = "CT", CTImageStorage
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.PositionReferenceIndicator = ""
    return ds


def _slice(study: Dataset, seed: str, index: int) -> bytes:
    ds = Dataset()
    ds.update(study)
    ds.SOPInstanceUID = generate_uid(entropy_srcs=[seed, f"instance {index}"])
    ds.InstanceNumber, ds.AcquisitionNumber = index + 1, 1
    ds.ImagePositionPatient = [-64, -64, 5 * index]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.SliceThickness, ds.KVP = [1, 1], 5, ""
    ds.Rows = ds.Columns = SIZE
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.RescaleIntercept, ds.RescaleSlope = -1024, 1
    ds.WindowCenter, ds.WindowWidth = 200, 1200
    ds.PixelData = b"".join(v.to_bytes(2, "little") for v in _pixels(index))
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _pixels(index: int) -> Iterator[int]:
    half = SIZE // 2
    rods = [(half + dx, half + dy, 3 + (index + n) % 6) for n, (dx, dy) in enumerate(_RODS)]
    for y in range(SIZE):
        for x in range(SIZE):
            if any((x - rx) ** 2 + (y - ry) ** 2 <= r * r for rx, ry, r in rods):
                yield BONE
            elif (x - half) ** 2 + (y - half) ** 2 <= 54 * 54:
                yield WATER
            else:
                yield AIR


_RODS = ((-28, 0), (28, 0), (0, -28), (0, 28), (20, 20), (-20, -20))
