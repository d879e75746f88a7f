"""Values that tell nothing, of each value representation. No I/O."""

from __future__ import annotations

import re
from typing import Any

from pydicom import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag

TEXT = frozenset({"LO", "SH", "ST", "LT", "UT", "UC"})
REMOVED = "REMOVED"
_DUMMIES: dict[str, Any] = {
    "PN": REMOVED,
    "AE": REMOVED,
    "CS": REMOVED,
    "AS": "000D",
    "DA": "19000101",
    "DT": "19000101000000",
    "TM": "000000",
    "DS": "0",
    "IS": "0",
    "US": 0,
    "OB": b"\0\0",
}


def dummy(tag: BaseTag, vr: str) -> Any:
    """A value that is valid and tells nothing; None where there is none."""
    if vr in TEXT:
        return REMOVED
    if vr == "SQ":
        return Sequence([_item(tag)])
    return _DUMMIES.get(vr)


def only_time(value: str) -> str:
    """A date, time or time zone; empty where it is anything else."""
    return value if re.fullmatch(r"[0-9.:+\- ]*", value) else ""


def only_uid(value: str) -> str:
    """A UID; empty where it is anything else."""
    return value if re.fullmatch(r"[0-9.]{0,64}", value) else ""


def _item(tag: BaseTag) -> Dataset:
    """One item that keeps the sequence valid (PS3.3)."""
    item = Dataset()
    if tag == Tag("ContentSequence"):  # a comment, PS3.16 CID 6 and TID 300
        item.RelationshipType, item.ValueType = "CONTAINS", "TEXT"
        item.ConceptNameCodeSequence = Sequence([_code("121106", "DCM", "Comment")])
        item.TextValue = REMOVED
    elif tag == Tag("GraphicAnnotationSequence"):
        item.GraphicLayer = REMOVED
    elif tag == Tag("VerifyingObserverSequence"):
        item.VerifyingOrganization, item.VerificationDateTime = REMOVED, "19000101000000"
        item.VerifyingObserverName = REMOVED
        item.VerifyingObserverIdentificationCodeSequence = Sequence()
    else:
        item.update(_code(REMOVED, "99ARGONATH", "Removed"))
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code
