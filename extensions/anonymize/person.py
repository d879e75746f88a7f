"""Who an object is about, and what in it tells so. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pydicom import DataElement, Dataset
from pydicom.datadict import keyword_for_tag
from pydicom.tag import BaseTag

from extensions.anonymize import dates, pseudonyms
from extensions.anonymize.table import Act, Table
from extensions.anonymize.words import Identifying

_ENDINGS = ("ID", "IDs", "Number", "Numbers", "Name", "Address", "Locator", "Identifier")


@dataclass(frozen=True)
class Person:
    """The patient of a study as the archive has it, which is what the way back leads to."""

    patient_id: str
    name: str
    birth_date: str
    study_uid: str

    @property
    def identity(self) -> str:
        """What pseudonym and date shift depend on."""
        return pseudonyms.identity(self.patient_id, self.study_uid)


def person_of(dataset: Dataset) -> Person:
    """The patient of one object."""

    def told(keyword: str) -> str:
        return str(dataset.get(keyword) or "")

    return Person(
        told("PatientID"), told("PatientName"), told("PatientBirthDate"), told("StudyInstanceUID")
    )


def read(dataset: Dataset, tag: BaseTag) -> DataElement | None:
    """One element; None where nobody can read its value."""
    try:
        return dataset[tag]
    except Exception:  # noqa: BLE001  pydicom raises whatever a broken value leads to
        return None


def texts(element: DataElement) -> list[str]:
    """The values of an element that is text."""
    value = element.value
    if value is None:
        return []
    several = not isinstance(value, str | bytes) and hasattr(value, "__iter__")
    return [str(v) for v in (value if several and element.VR != "PN" else _listed(value))]


def _listed(value: object) -> list[object]:
    return list(value) if type(value).__name__ == "MultiValue" else [value]  # type: ignore[call-overload]


def identifying(dataset: Dataset, table: Table, person: Person) -> Identifying:
    """The names, numbers and dates by which the object, or the archive, knows its people."""
    words = set(_words(person.name))
    values = {person.patient_id, *dates.spellings(person.birth_date)}
    for element in _elements(dataset):
        if element.VR == "PN":
            words.update(word for name in texts(element) for word in _words(name))
        elif element.VR in ("DA", "DT") and table.act(element.tag, element.VR) is not Act.KEEP:
            values.update(text for value in texts(element) for text in dates.spellings(value))
        elif _names_somebody(element, table):
            values.update(texts(element))
    return Identifying(words, {value.strip() for value in values if len(value.strip()) > 3})


def _elements(dataset: Dataset) -> Iterator[DataElement]:
    for tag in list(dataset.keys()):
        element = read(dataset, tag)
        if element is None:
            continue
        yield element
        if element.VR == "SQ":
            for item in element.value or ():
                yield from _elements(item)


def _names_somebody(element: DataElement, table: Table) -> bool:
    if element.VR not in ("LO", "SH", "ST", "LT", "UT", "UC"):
        return False
    if table.listed(element.tag) not in (Act.REMOVE, Act.EMPTY, Act.DUMMY):
        return False
    keyword = keyword_for_tag(element.tag)
    return keyword.endswith(_ENDINGS) and keyword != "ProtocolName"


def _words(name: str) -> list[str]:
    found = re.findall(r"[^\W\d_]+", name)
    return [word for word in found if len(word) > 2 or (len(word) == 2 and not word.isascii())]
