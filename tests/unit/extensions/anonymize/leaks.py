"""Looks for what is left of an original in a de-identified file, without the code under test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO

import pydicom
from pydicom import DataElement, Dataset
from pydicom.datadict import keyword_for_tag

IDS = (
    *(
        "PatientID",
        "OtherPatientIDs",
        "AccessionNumber",
        "StudyID",
        "AdmissionID",
        "PatientAddress",
    ),
    *("RequestedProcedureID", "ScheduledProcedureStepID", "PerformedProcedureStepID"),
    *("DeviceSerialNumber", "StationName", "InstitutionName", "InstitutionAddress"),
    *("InstitutionalDepartmentName", "PatientTelephoneNumbers", "MedicalRecordLocator"),
    *("IssuerOfPatientID", "FillerOrderNumberImagingServiceRequest", "GantryID", "DetectorID"),
    *("PlacerOrderNumberImagingServiceRequest", "StationAETitle", "RetrieveAETitle"),
)
NO_IDENTITY = ("SOPClass", "TransferSyntax", "CodingScheme", "ContextUID", "MappingResource")
BULK = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


@dataclass
class Original:
    """What identifies somebody in a file."""

    names: set[str] = field(default_factory=set)
    ids: set[str] = field(default_factory=set)
    uids: set[str] = field(default_factory=set)
    dates: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Leak:
    """A value of the original, and the element in which it is still found."""

    kind: str
    value: str
    path: str
    vr: str
    text: str


def elements(dataset: Dataset, path: str = "") -> Iterator[tuple[str, DataElement]]:
    for tag in list(dataset.keys()):
        try:
            element = dataset[tag]
        except Exception:  # noqa: BLE001  a broken value
            continue
        name = f"{path}/{element.keyword or tag}"
        yield name, element
        if element.VR == "SQ":
            for item in element.value or ():
                yield from elements(item, name)


def values(element: DataElement) -> list[str]:
    value = element.value
    if value is None or value == "":
        return []
    if isinstance(value, bytes):
        return [value.decode("latin-1")]
    if element.VR == "PN":
        several = value if isinstance(value, pydicom.multival.MultiValue) else [value]
        return [str(name) for name in several]
    several = value if isinstance(value, list | pydicom.multival.MultiValue) else [value]
    return [str(v) for v in several]


def original_of(dataset: Dataset) -> Original:
    found = Original()
    for _, element in elements(dataset):
        keyword = keyword_for_tag(element.tag) or ""
        for value in values(element):
            if element.VR == "PN":
                found.names |= {w.casefold() for w in re.findall(r"[^\W\d_]{3,}", value)}
            elif element.VR in ("DA", "DT"):
                found.dates |= set(re.findall(r"^\d{8}", value.replace(".", "")))
            elif element.VR == "UI":
                stands_for_a_class = any(part in keyword for part in NO_IDENTITY)
                if not (value.startswith("1.2.840.10008.") or stands_for_a_class):
                    found.uids.add(value.strip(" \0"))
            elif keyword in IDS and len(value.strip()) >= 4:
                found.ids.add(value.strip().casefold())
    found.uids.discard("")
    return found


def leaks(original: Original, file: bytes) -> Iterator[Leak]:
    """Every place of the file, its meta information included, that still tells."""
    dataset = pydicom.dcmread(BytesIO(file), force=True)
    everything = [*elements(dataset.file_meta, "meta"), *elements(dataset)]
    for path, element in everything:
        if element.VR == "SQ" or element.keyword in BULK:
            continue
        for text in values(element):
            for kind, value in _found(original, text):
                yield Leak(kind, value, path, element.VR, text[:60])
    if dataset.preamble and any(dataset.preamble):
        yield Leak("preamble", "", "preamble", "", "")


def _found(original: Original, text: str) -> Iterator[tuple[str, str]]:
    folded = text.casefold()
    for word in re.findall(r"[^\W\d_]{3,}", folded):
        if word in original.names:
            yield "name", word
    for value in original.ids:
        if re.search(rf"(?<![^\W_]){re.escape(value)}(?![^\W_])", folded):
            yield "id", value
    for uid in re.findall(r"[\d.]{9,64}", text):
        if uid in original.uids:
            yield "uid", uid
    for day in original.dates:
        if day in re.sub(r"(?<=\d)[-./](?=\d)", "", text):
            yield "date", day
