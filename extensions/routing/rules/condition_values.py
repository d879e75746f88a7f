"""What a condition compares with: which operator fits which field, how it is checked. No I/O."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence
from enum import StrEnum

from extensions.routing.rules.complaints import did_you_mean, wrong
from extensions.routing.rules.condition_fields import Field
from extensions.routing.rules.condition_kinds import (
    ANY,
    NUMBER,
    Key,
    Kind,
    Scalar,
    is_clean,
    text_of,
)

type Value = Scalar | tuple[Scalar, ...] | None

LONGEST = 256
MOST_CHOICES = 1000


class Operator(StrEnum):
    """How a field's values are compared; letters' case and spaces at the ends never matter."""

    EQUALS = "equals"
    ONE_OF = "one of"
    CONTAINS = "contains"
    MATCHES = "matches pattern"  # * any text, ? one character, as in PS3.4 section C.2.2.2.4
    AT_LEAST = "at least"
    AT_MOST = "at most"
    BETWEEN = "between"
    EXISTS = "exists"
    ABSENT = "absent"


_SCALARS = (str, int, float)
_ORDER = frozenset({Operator.AT_LEAST, Operator.AT_MOST, Operator.BETWEEN})
_PRESENCE = frozenset({Operator.EXISTS, Operator.ABSENT})
_TEXTUAL = frozenset({Operator.CONTAINS, Operator.MATCHES})
_LISTS = frozenset({Operator.ONE_OF, Operator.BETWEEN})


def operators_for(kind: Kind) -> tuple[Operator, ...]:
    """What can be asked of a kind of value."""
    return tuple(
        operator
        for operator in Operator
        if operator in _PRESENCE or (kind.comparable and (kind.ordered or operator not in _ORDER))
    )


def parse_operator(text: str) -> Operator:
    """An operator by its name; raises ValueError with the cure."""
    try:
        return Operator(text.casefold())
    except ValueError:
        known = ", ".join(f"'{operator}'" for operator in Operator)
        cure = did_you_mean(text, Operator) or f"use {known}."
        raise ValueError(f"{text[:64]!r} is unknown; {cure}") from None


def read_value(field: Field, operator: Operator, raw: object) -> Value:
    """What is compared with, as it is stored.

    Raises `WrongRule` that names the place below the condition: ``operator``, ``value[1]``.
    """
    fitting = operators_for(field.kind)
    if operator not in fitting:
        told = ", ".join(f"'{o}'" for o in fitting)
        message = f"'{operator}' does not fit {field}, which is {field.kind.name}; use {told}."
        raise wrong("operator", message)
    if operator in _PRESENCE:
        if raw is not None:
            raise wrong("value", f"'{operator}' compares with nothing; leave the value out.")
        return None
    kind = _kind(field.kind, operator)
    if operator not in _LISTS:
        return _scalar(kind, operator, raw, "value")
    if not isinstance(raw, Sequence) or isinstance(raw, str) or not raw:
        example = "[1, 10]" if operator is Operator.BETWEEN else "[CT, MR]"
        raise wrong("value", f"'{operator}' needs a list, such as {example}.")
    if len(raw) > MOST_CHOICES:
        raise wrong("value", f"holds {len(raw)} values; at most {MOST_CHOICES} are possible.")
    values = tuple(_scalar(kind, operator, v, f"value[{n}]") for n, v in enumerate(raw))
    if operator is Operator.BETWEEN:
        _check_range(kind, values)
    return values


def check_of(kind: Kind, operator: Operator, value: Value) -> Callable[[object], bool]:
    """Whether a value is met, compiled once."""
    kind = _kind(kind, operator)
    if operator in _PRESENCE:
        return lambda _: True
    operands = value if isinstance(value, tuple) else (value,) if value is not None else ()
    if operator in _TEXTUAL:
        return _textual(operator, text_of(operands[0]))
    spans = [kind.span(operand) for operand in operands]
    if operator in _ORDER:
        return _ordered(kind, operator, spans)
    return _equal(kind, spans)


def _kind(kind: Kind, operator: Operator) -> Kind:
    # Only numbers among what no dictionary knows have an order.
    return NUMBER if kind is ANY and operator in _ORDER else kind


def _scalar(kind: Kind, operator: Operator, raw: object, place: str) -> Scalar:
    if raw is None or raw == "" or (isinstance(raw, str) and not raw.strip()):
        raise wrong(place, "is missing; write what to compare with.")
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        raise wrong(place, "must be a text or a number; put it in quotes.")
    try:
        text = str(raw)
    except ValueError:  # Python writes no integer of more than 4300 digits
        text = " " * (LONGEST + 1)
    if len(text) > LONGEST:
        raise wrong(place, f"has more than {LONGEST} characters; shorten it.")
    if not is_clean(text):
        raise wrong(place, "holds control characters; remove them.")
    if operator in _TEXTUAL:
        return text.strip()
    try:
        return kind.canonical(raw)
    except ValueError as error:
        raise wrong(place, f"{text[:64]!r} {error}") from None


def _check_range(kind: Kind, values: tuple[Scalar, ...]) -> None:
    if len(values) != 2:
        raise wrong("value", f"'between' needs two values, not {len(values)}.")
    low, high = (kind.span(value) for value in values)
    if low[0] > high[1] and not kind.over_midnight:
        raise wrong("value", f"{values[0]} comes after {values[1]}; exchange them.")


def _textual(operator: Operator, wanted: str) -> Callable[[object], bool]:
    if operator is Operator.CONTAINS:
        return lambda value: isinstance(value, _SCALARS) and wanted in text_of(value)
    fits = _pattern(wanted)
    return lambda value: isinstance(value, _SCALARS) and fits(text_of(value))


def _pattern(wanted: str) -> Callable[[str], bool]:
    """Whether a text fits; never takes longer than the text's length times the pattern's."""
    if "?" in wanted:
        # Python's patterns know sets in brackets, DICOM's do not.
        match = re.compile(fnmatch.translate(wanted.replace("[", "[[]"))).match
        return lambda text: match(text) is not None
    first, *others = wanted.split("*")
    if not others:
        return lambda text: text == first
    *middle, last = others

    def fits(text: str) -> bool:
        place = len(first)
        for part in middle:
            found = text.find(part, place)
            if found < 0:
                return False
            place = found + len(part)
        enough = len(text) - len(last) >= place
        return enough and text.startswith(first) and text.endswith(last)

    return fits


def _equal(kind: Kind, spans: list[tuple[Key, Key]]) -> Callable[[object], bool]:
    key_of = kind.key
    if all(first == last for first, last in spans):
        wanted = frozenset(first for first, _ in spans)
        return lambda value: isinstance(value, _SCALARS) and key_of(value) in wanted
    return lambda value: _within(key_of(value), spans)


def _ordered(
    kind: Kind, operator: Operator, spans: list[tuple[Key, Key]]
) -> Callable[[object], bool]:
    key_of, low, high = kind.key, spans[0][0], spans[-1][1]
    if operator is Operator.AT_LEAST:
        return lambda value: (key := key_of(value)) is not None and key >= low
    if operator is Operator.AT_MOST:
        return lambda value: (key := key_of(value)) is not None and key <= high
    if low <= high:
        return lambda value: _within(key_of(value), [(low, high)])
    return lambda value: (key := key_of(value)) is not None and (key >= low or key <= high)


def _within(key: Key | None, spans: list[tuple[Key, Key]]) -> bool:
    return key is not None and any(first <= key <= last for first, last in spans)
