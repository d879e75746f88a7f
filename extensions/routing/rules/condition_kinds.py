"""How the values of a field are compared, by its VR (PS3.5 section 6.2). No I/O.

What a rule compares with stands for a span: the day ``2024-01-31`` is all its seconds for a DT,
the time ``07:30`` is that minute. A value *equals* it when it lies within.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any
from unicodedata import category

type Scalar = str | int | float
"""What a rule compares with."""

type Key = Any
"""What values of one kind are compared by: folded text, a number, or digits of a fixed width."""

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True)
class Kind:
    """A kind of value.

    `canonical` is how what a rule compares with is written, and raises ValueError telling the
    cure. `span` are the first and last keys that it stands for. `key` is that of a value seen,
    None where the value is no such thing.
    """

    name: str
    canonical: Callable[[Scalar], Scalar]
    key: Callable[[object], Key | None]
    span: Callable[[Scalar], tuple[Key, Key]]
    ordered: bool = True
    comparable: bool = True
    over_midnight: bool = False


def is_clean(text: str, allowed: str = "") -> bool:
    """Without control characters and halves of surrogate pairs, which PostgreSQL may refuse."""
    return not any(category(c) in {"Cc", "Cs"} and c not in allowed for c in text)


def text_of(value: object) -> str:
    """A value as text; letters' case and spaces at the ends never matter."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).strip().casefold()


def _point(key: Callable[[object], Key | None]) -> Callable[[Scalar], tuple[Key, Key]]:
    def span(operand: Scalar) -> tuple[Key, Key]:
        found = key(operand)
        assert found is not None
        return found, found

    return span


def _as_text(operand: Scalar) -> str:
    return str(operand).strip()


def _unchanged(operand: Scalar) -> Scalar:
    return operand.strip() if isinstance(operand, str) else operand


def _name_key(value: object) -> str:
    return text_of(value).rstrip("^ ")  # PS3.5 section 6.2.1.1: empty components may be left out


def _number_key(value: object) -> float | None:
    if isinstance(value, bool) or (isinstance(value, str) and "_" in value):
        return None  # Python reads 1_000 as a number, DICOM does not
    try:
        number = float(value)  # type: ignore[arg-type]  # it raises
    except (ValueError, TypeError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _number(operand: Scalar) -> Scalar:
    number = _number_key(operand)
    if number is None:
        raise ValueError("is no number; write one such as 512 or 1.5.")
    if isinstance(operand, str):
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    return operand


def _any_key(value: object) -> Key:
    number = _number_key(value)
    return text_of(value) if number is None else number


_DAYS = {"D": 1.0, "W": 7.0, "M": 365.25 / 12, "Y": 365.25}
_AGE = re.compile(r"\s*(\d{1,3})([DWMY])\s*", re.IGNORECASE | re.ASCII)


def _age_key(value: object) -> float | None:
    """Days."""
    found = _AGE.fullmatch(str(value))
    return int(found[1]) * _DAYS[found[2].upper()] if found else None


def _age(operand: Scalar) -> Scalar:
    found = _AGE.fullmatch(str(operand))
    if not found:
        raise ValueError("is no age; write days, weeks, months or years, such as 18Y or 6M.")
    return f"{int(found[1])}{found[2].upper()}"


_DATE = re.compile(r"(\d{4})[-.]?(\d\d)[-.]?(\d\d)", re.ASCII)
_TIME = re.compile(r"([01]\d|2[0-3])(?::?([0-5]\d)(?::?([0-5]\d|60)(?:\.(\d{1,6}))?)?)?", re.ASCII)
_DATETIME = re.compile(r"(\d{4})(?:-?(\d\d)(?:-?(\d\d)(?:[ T]?(\d.*))?)?)?", re.ASCII)
_OFFSET = re.compile(r"[+-]\d{4}$")


def _date_digits(value: object) -> str | None:
    found = _DATE.fullmatch(str(value).strip())
    return "".join(found.groups()) if found else None


def _time_digits(value: object) -> str | None:
    found = _TIME.fullmatch(str(value).strip())
    return "".join(part or "" for part in found.groups()) if found else None


def _datetime_digits(value: object) -> str | None:
    found = _DATETIME.fullmatch(str(value).strip())
    if not found:
        return None
    time = _time_digits(found[4]) if found[4] else ""
    return None if time is None else "".join(part or "" for part in found.groups()[:3]) + time


def _date(operand: Scalar) -> Scalar:
    digits = _date_digits(operand)
    if not digits or not _is_day(digits):
        raise ValueError("is no date; write it such as 2024-01-31.")
    return f"{digits[:4]}-{digits[4:6]}-{digits[6:]}"


def _time(operand: Scalar) -> Scalar:
    digits = _time_digits(operand)
    if not digits:
        raise ValueError("is no time of day; write it such as '07:30'.")
    return _time_text(digits)


def _datetime(operand: Scalar) -> Scalar:
    digits = _datetime_digits(operand)
    if not digits or not _is_day((digits + "0101"[len(digits) - 4 :])[:8]):
        raise ValueError("is no date and time; write it such as '2024-01-31 07:30'.")
    day = "-".join(part for part in (digits[:4], digits[4:6], digits[6:8]) if part)
    return f"{day} {_time_text(digits[8:])}" if digits[8:] else day


def _is_day(digits: str) -> bool:
    try:
        date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return False
    return True


def _time_text(digits: str) -> str:
    text = ":".join(part for part in (digits[:2], digits[2:4], digits[4:6]) if part)
    return f"{text}.{digits[6:]}" if digits[6:] else text


def _moments(
    digits_of: Callable[[object], str | None], width: int
) -> tuple[Callable[[object], str | None], Callable[[Scalar], tuple[Key, Key]]]:
    """The key and the span of what is written in digits, most significant first."""

    def key(value: object) -> str | None:
        digits = digits_of(value)
        return None if digits is None else digits.ljust(width, "0")

    def span(operand: Scalar) -> tuple[Key, Key]:
        digits = digits_of(operand)
        assert digits is not None
        return digits.ljust(width, "0"), digits.ljust(width, "9")

    return key, span


def _weekday(operand: Scalar) -> Scalar:
    day = str(operand).strip().casefold()
    if day not in WEEKDAYS:
        raise ValueError(f"is no day of the week; use one of {', '.join(WEEKDAYS)}.")
    return day


_date_key, _date_span = _moments(_date_digits, 8)
_time_key, _time_span = _moments(_time_digits, 12)
_datetime_key, _datetime_span = _moments(lambda v: _datetime_digits(_OFFSET.sub("", str(v))), 20)

TEXT = Kind("text", _as_text, text_of, _point(text_of), ordered=False)
NAME = Kind("a person's name", _as_text, _name_key, _point(_name_key), ordered=False)
WEEKDAY = Kind("a day of the week", _weekday, text_of, _point(text_of), ordered=False)
NUMBER = Kind("a number", _number, _number_key, _point(_number_key))
AGE = Kind("an age", _age, _age_key, _point(_age_key))
DATE = Kind("a date", _date, _date_key, _date_span)
TIME = Kind("a time of day", _time, _time_key, _time_span, over_midnight=True)
DATETIME = Kind("a date and time", _datetime, _datetime_key, _datetime_span)
ANY = Kind("of any kind", _unchanged, _any_key, _point(_any_key))
"""What no dictionary knows: two numbers are compared as numbers, else as text."""
OPAQUE = Kind(
    "a sequence or binary data", _as_text, text_of, _point(text_of), ordered=False, comparable=False
)

_BY_VR = {
    **dict.fromkeys(("AE", "AT", "CS", "LO", "LT", "SH", "ST", "UC", "UI", "UR", "UT"), TEXT),
    **dict.fromkeys(("DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"), NUMBER),
    "PN": NAME,
    "AS": AGE,
    "DA": DATE,
    "TM": TIME,
    "DT": DATETIME,
}


def kind_of_vr(vr: str) -> Kind:
    """The kind of a dictionary's VR, such as ``CS`` or ``US or SS``."""
    kinds = {_BY_VR.get(part, OPAQUE) for part in vr.split(" or ")}
    return kinds.pop() if len(kinds) == 1 else OPAQUE
