"""What a value representation (PS3.5 section 6.2) lets a value be. No I/O.

Complaints never quote the value: it may name a patient.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydicom import config
from pydicom.valuerep import MAX_VALUE_LEN, validate_value

INTEGERS = frozenset({"US", "SS", "UL", "SL", "UV", "SV"})
FLOATS = frozenset({"FL", "FD"})
LONG_TEXT = frozenset({"ST", "LT", "UT"})  # one value, with lines
ENCODED_TEXT = frozenset({"SH", "LO", "PN", "UC"}) | LONG_TEXT  # in Specific Character Set
AFFIXABLE = ENCODED_TEXT | {"AE", "CS"}
WRITABLE = AFFIXABLE | INTEGERS | FLOATS | {"AS", "DA", "DS", "DT", "IS", "TM", "UR", "UI"}

_TIME = r"([01]\d|2[0-3])([0-5]\d((60|[0-5]\d)(\.\d{1,6})?)?)?"
_SHAPES = {
    "TM": re.compile(_TIME),
    # The month and the day may be missing, but not between others.
    "DT": re.compile(
        rf"\d{{4}}((0[1-9]|1[0-2])((0[1-9]|[12]\d|3[01])({_TIME})?)?)?([+-][01]\d[0-5]\d)?"
    ),
}
_CURES = {
    "AE": "at most 16 ASCII characters",
    "AS": "an age such as 045Y",
    "CS": "at most 16 of capital letters, digits, space and underscore",
    "DA": "a date such as 20260131",
    "DS": "a decimal number of at most 16 characters",
    "DT": "a date and time such as 20260131235959",
    "IS": "an integer of at most 12 characters",
    "LO": "at most 64 characters in one line",
    "LT": "at most 10240 characters",
    "PN": "a name such as Doe^Jane, at most 64 characters in each of three groups",
    "SH": "at most 16 characters in one line",
    "ST": "at most 1024 characters",
    "TM": "a time such as 235959",
    "UC": "text in one line",
    "UI": "a UID of at most 64 digits and dots",
    "UR": "a URL",
    "UT": "text",
}


def check(vr: str, values: Sequence[str]) -> None:
    """Raises ValueError, saying what is possible, when one of the values is not."""
    if vr not in WRITABLE:
        raise ValueError(f"its VR {vr or 'is not known and'} cannot be written by a rule")
    for value in values:
        if value and not _fits(vr, value):
            raise ValueError(f"not a value of VR {vr}; give {_cure(vr)}")


def check_number(values: Sequence[str], possible: tuple[int, int | None]) -> None:
    """Raises ValueError when there are more or fewer values than its multiplicity (PS3.6)."""
    least, most = possible
    if values and (len(values) < least or (most is not None and len(values) > most)):
        shown = (
            f"{least} or more"
            if most is None
            else f"{least}"
            if most == least
            else f"{least} to {most}"
        )
        raise ValueError(f"{len(values)} values where {shown} can be; correct their number")


def parse(vr: str, value: str) -> str | int | float:
    """A checked value as pydicom wants it."""
    if vr in INTEGERS:
        return int(value)
    return float(value) if vr in FLOATS else value


def values_of(value: Any) -> list[str]:
    """An element's values as text; bytes (VR UN) are read as ASCII."""
    if value is None or value in ("", b""):
        return []
    if isinstance(value, bytes):
        return [part.strip(" \0") for part in value.decode("ascii").split("\\")]
    several = value if isinstance(value, list | tuple) or hasattr(value, "append") else [value]
    return ["" if one is None else str(one) for one in several]


def _fits(vr: str, value: str) -> bool:
    if vr not in ENCODED_TEXT and not value.isascii():
        return False
    if vr in INTEGERS | FLOATS:
        return _is_number(vr, value)
    if vr == "DA":
        return _is_date(value)
    if vr in _SHAPES:
        return _SHAPES[vr].fullmatch(value) is not None
    lines = "\r\n\t\f" if vr in LONG_TEXT else ""
    if any(unicodedata.category(c) == "Cc" and c not in lines for c in value):
        return False
    if "\\" in value and vr not in LONG_TEXT:
        return False
    if vr == "PN":
        return value.count("=") <= 2 and all(len(g) <= 64 for g in value.split("="))
    return _pydicom_accepts(vr, value)


def _pydicom_accepts(vr: str, value: str) -> bool:
    if len(value) > MAX_VALUE_LEN.get(vr, len(value)):
        return False
    try:
        validate_value(vr, value, config.RAISE)
    except ValueError:
        return False
    return True


def _is_number(vr: str, value: str) -> bool:
    try:
        validate_value(vr, parse(vr, value), config.RAISE)
    except ValueError:
        return False
    return True


def _is_date(value: str) -> bool:
    if not re.fullmatch(r"[0-9]{8}", value):
        return False
    try:
        datetime.strptime(value, "%Y%m%d")  # noqa: DTZ007  a calendar day
    except ValueError:
        return False
    return True


def _cure(vr: str) -> str:
    if vr in INTEGERS:
        return "an integer of its size"
    return "a number" if vr in FLOATS else _CURES[vr]
