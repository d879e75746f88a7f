"""An image and what its sidecar says, as Secondary Capture (PS3.3 A.8). Pure.

The same image with the same sidecar makes the same bytes, so storing it again is no second object.
"""

from __future__ import annotations

import hashlib
import uuid
from io import BytesIO

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    SecondaryCaptureImageStorage,
)

from extensions.polling import jpeg, png
from extensions.polling.sidecar import Complaint, Rejected, Sidecar

_NAMESPACE = uuid.UUID("8a4c1f0e-6f0b-5b0c-9d5e-2a6f0f6f7b11")
# Not in the sidecar's words alone: type 2 attributes stand there even when nothing is known.
_ALWAYS = frozenset(
    {
        "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
        "StudyID", "AccessionNumber", "ReferringPhysicianName", "Modality", "SeriesNumber",
        "InstanceNumber", "ConversionType",
    }
)  # fmt: skip


def build(sidecar: Sidecar, image: bytes, tenant_id: str) -> Dataset:
    """The data set with its file meta information; raises `Rejected`."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    for name, value in sidecar.model_dump(exclude={"StudyInstanceUID"}).items():
        if value != "" or name in _ALWAYS:
            setattr(ds, name, value)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    _name(ds, sidecar, image, tenant_id)
    ds.ImageType = ["DERIVED", "SECONDARY"]
    ds.PatientOrientation = ds.Laterality = ds.Manufacturer = ""
    try:
        _add_jpeg(ds, image) if image.startswith(jpeg.SIGNATURE) else _add_png(ds, image)
    except ValueError as error:
        what, _, cure = str(error).partition("; ")
        raise Rejected(
            Complaint("image", what[:1].upper() + what[1:] + ".", cure[:1].upper() + cure[1:] + ".")
        ) from None
    return ds


def as_file(ds: Dataset) -> bytes:
    """The DICOM file (PS3.10)."""
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _name(ds: Dataset, said: Sidecar, image: bytes, tenant_id: str) -> None:
    """The UIDs: images of the same words make one study, one series."""
    ds.StudyInstanceUID = UID(said.StudyInstanceUID) or uid_of(
        "study", tenant_id, said.PatientID, said.AccessionNumber, said.StudyID, said.StudyDate,
        said.StudyTime, said.StudyDescription,
    )  # fmt: skip
    ds.SeriesInstanceUID = uid_of(
        "series", tenant_id, said.PatientID, ds.StudyInstanceUID, said.Modality,
        str(said.SeriesNumber), said.SeriesDescription,
    )  # fmt: skip
    # All words: who corrects one and drops the image again means another object.
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid_of(
        "instance", tenant_id, ds.SeriesInstanceUID, said.model_dump_json(),
        hashlib.sha256(image).hexdigest(),
    )  # fmt: skip


def uid_of(*words: str) -> UID:
    """A UID (PS3.5 B.2) that the same words always give, and others do not."""
    joined = "\0".join(f"{len(word)} {word}" for word in words)
    return UID(f"2.25.{uuid.uuid5(_NAMESPACE, joined).int}")


def _add_jpeg(ds: Dataset, image: bytes) -> None:
    frame = jpeg.read(image)
    _describe(ds, frame.rows, frame.columns, frame.samples, 8, frame.photometric)
    ds.LossyImageCompression, ds.LossyImageCompressionMethod = "01", "ISO_10918_1"
    ratio = frame.rows * frame.columns * frame.samples / frame.size
    ds.LossyImageCompressionRatio = f"{ratio:.2f}"
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    ds.PixelData = encapsulate([image[: frame.size]])
    ds["PixelData"].is_undefined_length = True


def _add_png(ds: Dataset, image: bytes) -> None:
    picture = png.read(image)
    photometric = "MONOCHROME2" if picture.samples == 1 else "RGB"
    _describe(ds, picture.rows, picture.columns, picture.samples, picture.bits, photometric)
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.PixelData = picture.pixels + b"\0" * (len(picture.pixels) % 2)
    ds["PixelData"].VR = "OW" if picture.bits == 16 else "OB"


def _describe(
    ds: Dataset, rows: int, columns: int, samples: int, bits: int, photometric: str
) -> None:
    ds.SamplesPerPixel, ds.PhotometricInterpretation = samples, photometric
    if samples == 3:
        ds.PlanarConfiguration = 0
    ds.Rows, ds.Columns = rows, columns
    ds.BitsAllocated = ds.BitsStored = bits
    ds.HighBit, ds.PixelRepresentation = bits - 1, 0
