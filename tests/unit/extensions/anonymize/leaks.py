"""Looks for what is left of an original in a de-identified file, without the code under test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO

import pydicom
from pydicom import DataElement, Dataset
from pydicom.charset import encode_string
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
ESCAPE = r"\x1b\$?[()][@-Z]"  # ISO 2022: another character set follows


@dataclass
class Original:
    """What identifies somebody in a file.

    `names`: words of three letters, and any that is not all ASCII, for two such letters, or one,
    may be a name. `encoded`: the bytes of these others as the file writes them.
    """

    names: set[str] = field(default_factory=set)
    encoded: dict[bytes, str] = field(default_factory=dict)
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


def words_of_name(name: str) -> list[str]:
    words = re.findall(r"[^\W\d_]+", re.sub(ESCAPE, "", name))
    return [word for word in words if len(word) >= 3 or not word.isascii()]


def encoded_words(element: DataElement) -> Iterator[tuple[bytes, str]]:
    """Each word of names that is not all ASCII, as its character set writes it."""
    value = element.value or []
    for name in value if isinstance(value, pydicom.multival.MultiValue) else [value]:
        for word in words_of_name(str(name)):
            if not word.isascii():
                encoded = encode_string(word, name.encodings)
                yield re.sub(ESCAPE.encode() + b"$", b"", encoded), word


def original_of(dataset: Dataset) -> Original:
    found = Original()
    for _, element in elements(dataset):
        keyword = keyword_for_tag(element.tag) or ""
        if element.VR == "PN":
            found.encoded.update(encoded_words(element))
        for value in values(element):
            if element.VR == "PN":
                found.names |= {word.casefold() for word in words_of_name(value)}
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
    for pixels in filter(None, map(dataset.get, BULK)):
        file = file.replace(pixels, b"")
    for encoded, word in original.encoded.items():
        if encoded in file:
            yield Leak("encoded name", word, "the file", "", "")
    if dataset.preamble and any(dataset.preamble):
        yield Leak("preamble", "", "preamble", "", "")


def _found(original: Original, text: str) -> Iterator[tuple[str, str]]:
    folded = text.casefold()
    for word in re.findall(r"[^\W\d_]{3,}", folded):
        if word in original.names and word.isascii():
            yield "name", word
    for word in original.names:
        if not word.isascii() and word in folded:  # there may be no spaces around it
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
