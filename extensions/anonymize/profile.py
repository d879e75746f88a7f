"""The Basic Application Level Confidentiality Profile and its options (PS3.15 E) on a data set.

No I/O. The pixels stay as they are: what is burned into them is not found (`burned_in.py`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

from pydicom import DataElement, Dataset
from pydicom.config import disable_value_validation
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, UID

from extensions.anonymize import dates, pseudonyms, values
from extensions.anonymize.options import Options
from extensions.anonymize.person import Person, identifying, person_of, read, texts
from extensions.anonymize.pseudonyms import Keys
from extensions.anonymize.table import Act, Table, safe_private
from extensions.anonymize.words import Identifying

_PATIENT = (Tag("PatientName"), Tag("PatientID"))
_CODED = (Tag("CodeValue"), Tag("LongCodeValue"), Tag("CodingSchemeDesignator"))
_MEANING = Tag("CodeMeaning")
_STANDARD_SCHEMES = (
    *("DCM", "SCT", "SRT", "SNM3", "LN", "UCUM", "FMA", "RADLEX", "NCIt", "I10", "I9C"),
    *("MDC", "UMLS", "NEU", "IBSI"),
)
_METHODS = {"removed": "REMOVED", "shifted": "MODIFIED", "full": "UNMODIFIED"}


def apply(dataset: Dataset, table: Table, keys: Keys, person: Person | None = None) -> Dataset:
    """The data set itself, de-identified in place, with its file meta information and preamble.

    `person` is whose pseudonym it gets; without one, the patient that it names.
    """
    # Complaints of pydicom quote values that do not fit their VR: a log must not.
    with warnings.catch_warnings(), disable_value_validation():
        warnings.simplefilter("ignore")
        person = person or person_of(dataset)
        _Run(table, keys, person, identifying(dataset, table, person)).top(dataset)
        _mark(dataset, table.options)
        _renew_meta(dataset, keys)
    return dataset


class _Run:
    """What holds throughout one data set and everything nested in it."""

    def __init__(self, table: Table, keys: Keys, person: Person, told: Identifying) -> None:
        self._table, self._keys, self._person, self._told = table, keys, person, told
        self._days = keys.shift(person.identity, table.options.shift_days)

    def top(self, dataset: Dataset) -> None:
        """The outermost data set: it gets a pseudonym even where it had no name."""
        self._each(dataset)
        pseudonym = self._keys.patient(self._person.identity)
        dataset.PatientName, dataset.PatientID = pseudonym, pseudonym

    def _each(self, dataset: Dataset, cleaning: bool = False) -> None:
        """Every element; `cleaning`: where text that the table does not list is not trusted."""
        pseudonym = self._pseudonym(dataset)
        coded = dataset.get("CodingSchemeDesignator") in _STANDARD_SCHEMES
        self._private(dataset)
        for tag in [tag for tag in dataset.keys() if not tag.is_private]:  # noqa: SIM118  raw keys
            element = read(dataset, tag)
            # Below group 8: commands, file heads and media directories, whose paths may be names.
            if element is None or tag.group < 8 or tag.element == 0:
                del dataset[tag]
            elif tag in _PATIENT:
                element.value = pseudonym if element.value else ""
            elif coded and tag == _MEANING:
                self._rewrite(element, self._told.scrub_term)
            elif not (coded and tag in _CODED):
                self._one(dataset, element, self._act(element, cleaning), cleaning)

    def _act(self, element: DataElement, cleaning: bool) -> Act:
        act = self._table.act(element.tag, element.VR)
        if cleaning and element.VR in values.TEXT and self._table.listed(element.tag) is None:
            return Act.CLEAN
        return act

    def _pseudonym(self, dataset: Dataset) -> str:
        named = str(dataset.get("PatientID") or "")
        if not named or named == self._person.patient_id or "StudyInstanceUID" in dataset:
            return self._keys.patient(self._person.identity)
        return self._keys.patient(pseudonyms.identity(named, self._person.study_uid))

    def _one(self, dataset: Dataset, element: DataElement, act: Act, cleaning: bool) -> None:
        match act:
            case Act.REMOVE:
                del dataset[element.tag]
            case Act.EMPTY:
                element.value = Sequence() if element.VR == "SQ" else element.empty_value
            case Act.DUMMY if element.VR != "UI":
                self._dummy(dataset, element)
            case Act.UID | Act.DUMMY:
                self._rewrite(element, self._uid)
            case Act.SHIFT:
                self._shift(dataset, element)
            case Act.KEEP:
                self._keep(dataset, element, cleaning)
            case Act.CLEAN:
                self._clean(dataset, element)

    def _dummy(self, dataset: Dataset, element: DataElement) -> None:
        if not element.value:
            return
        if (value := values.dummy(element.tag, element.VR)) is None:
            del dataset[element.tag]
        else:
            element.value = value

    def _shift(self, dataset: Dataset, element: DataElement) -> None:
        match element.VR:
            case "DA" | "DT":
                self._rewrite(element, lambda value: dates.shifted(value, self._days))
            case "TM" | "SH":  # a time of day, or a time zone
                self._rewrite(element, values.only_time)
            case _:
                del dataset[element.tag]

    def _keep(self, dataset: Dataset, element: DataElement, cleaning: bool) -> None:
        match element.VR:
            case "SQ":
                for item in element.value or ():
                    self._each(item, cleaning)
            case "UN":
                del dataset[element.tag]
            case "CS":
                self._rewrite(element, self._told.scrub_term)
            case "DA" | "DT" | "TM":
                self._rewrite(element, values.only_time)
            case "UI":
                self._rewrite(element, values.only_uid)
            case vr if vr in values.TEXT:
                self._rewrite(element, lambda text: self._told.scrub(text, self._uid))

    def _clean(self, dataset: Dataset, element: DataElement) -> None:
        match element.VR:
            case "SQ":
                for item in element.value or ():
                    self._each(item, cleaning=True)
            case "AE":
                element.value = values.REMOVED if element.value else ""
            case "CS":
                self._rewrite(element, lambda text: self._told.clean(text).upper())
            case vr if vr in values.TEXT:
                self._rewrite(element, self._told.clean)
            case _:  # pictures and bytes, in which nobody can see what they tell
                del dataset[element.tag]

    def _uid(self, original: str) -> str:
        original = original.strip(" \0")
        if not original or original.startswith("1.2.840.10008.") or self._table.options.retain_uids:
            return original
        return self._keys.uid(original)

    def _rewrite(self, element: DataElement, change: Callable[[str], str]) -> None:
        before = texts(element)
        after = [change(text) for text in before]
        if after != before:
            element.value = after if len(after) > 1 else after[0]

    def _private(self, dataset: Dataset) -> None:
        """Without what nobody vouches for; a creator stays as long as one of its elements does."""
        kept: set[tuple[int, int]] = set()
        private = [tag for tag in dataset.keys() if tag.is_private]  # noqa: SIM118  raw keys
        for tag in private:
            if not tag.is_private_creator and not self._is_safe(dataset, tag):
                del dataset[tag]
            elif not tag.is_private_creator:
                self._keep(dataset, dataset[tag], cleaning=True)
                kept.add((tag.group, tag.element >> 8))
        for tag in private:
            if tag.is_private_creator and (tag.group, tag.element) not in kept:
                del dataset[tag]

    def _is_safe(self, dataset: Dataset, tag: BaseTag) -> bool:
        if not self._table.options.retain_safe_private:
            return False
        creator = read(dataset, Tag(tag.group, tag.element >> 8))
        element = read(dataset, tag)
        if creator is None or element is None:
            return False
        return safe_private().get((str(creator.value), tag.group, tag.element & 0xFF)) == element.VR


def _mark(dataset: Dataset, options: Options) -> None:
    """What was done, as PS3.3 C.12.1.1.4 and PS3.15 E.1.1 say it; earlier claims are replaced."""
    codes = []
    for value, meaning in options.codes():
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
        codes.append(code)
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = [f"PS3.15 {meaning}"[:64] for _, meaning in options.codes()]
    dataset.DeidentificationMethodCodeSequence = Sequence(codes)
    if options.dates != "full" or not dataset.get("LongitudinalTemporalInformationModified"):
        dataset.LongitudinalTemporalInformationModified = _METHODS[options.dates]


def _renew_meta(dataset: Dataset, keys: Keys) -> None:
    """The file meta information anew: it names AE titles and may hold private information."""
    old = getattr(dataset, "file_meta", None)
    if old is None:
        return
    new = FileMetaDataset()
    new.FileMetaInformationVersion = b"\0\1"
    for keyword in ("MediaStorageSOPClassUID", "TransferSyntaxUID"):
        if keyword in old:
            setattr(new, keyword, old[keyword].value)
    if instance := dataset.get("SOPInstanceUID"):
        new.MediaStorageSOPInstanceUID = instance
    elif named := old.get("MediaStorageSOPInstanceUID"):
        new.MediaStorageSOPInstanceUID = UID(keys.uid(named))
    new.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    dataset.file_meta = new
    if hasattr(dataset, "preamble"):
        dataset.preamble = bytes(128)
