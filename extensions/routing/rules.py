"""When a study is forwarded: conditions on its tags, and why they were met or not. No I/O.

A condition looks at one tag of a series (study-level tags are part of each series). A rule applies
to a study when one of its series meets all conditions; a rule without conditions applies to every
study.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import dictionary_VR, tag_for_keyword

from gateway.errors import InvalidInput

type Tags = Mapping[str, Sequence[str]]
"""Values by keyword; see `tags.py`."""

MAX_CONDITIONS = 32
MAX_VALUE = 256
_UNREADABLE = frozenset({"SQ", "OB", "OW", "OF", "OD", "OL", "OV", "UN"})


class Operator(StrEnum):
    """How a tag's value is compared; letters' case never matters."""

    EQUALS = "equals"
    CONTAINS = "contains"
    MATCHES = "matches pattern"  # * any text, ? one character, as in PS3.4 section C.2.2.2.4
    ONE_OF = "one of"  # values by commas


@dataclass(frozen=True)
class Condition:
    """One line of a rule, e.g. ``Modality equals CT``."""

    tag: str
    operator: Operator
    value: str

    def __str__(self) -> str:
        return f"{self.tag} {self.operator} {self.value}"

    def as_json(self) -> dict[str, str]:
        """The shape that `parse_conditions` reads."""
        return {key: str(value) for key, value in asdict(self).items()}


@dataclass(frozen=True)
class Finding:
    """A condition, the values that it saw (none: the tag is absent) and whether it was met."""

    condition: Condition
    seen: tuple[str, ...]
    met: bool


@dataclass(frozen=True)
class Verdict:
    """Whether a rule applies, and the findings of the series that came nearest."""

    applies: bool
    findings: tuple[Finding, ...]


def parse_conditions(given: Sequence[Mapping[str, Any]]) -> tuple[Condition, ...]:
    """Conditions from forms or JSON; raises `InvalidInput` that names every wrong place."""
    if len(given) > MAX_CONDITIONS:
        raise InvalidInput(f"A rule has at most {MAX_CONDITIONS} conditions, not {len(given)}.")
    conditions: list[Condition] = []
    errors: list[str] = []
    for number, raw in enumerate(given, 1):
        try:
            conditions.append(_parse(raw))
        except ValueError as error:
            errors.append(f"Condition {number}: {error}")
    if errors:
        raise InvalidInput(" ".join(errors))
    return tuple(conditions)


def evaluate(conditions: Sequence[Condition], series: Sequence[Tags]) -> Verdict:
    """Whether one of the series meets all conditions, and what each condition saw."""
    best: tuple[Finding, ...] = ()
    for tags in series:
        findings = tuple(_find(condition, tags) for condition in conditions)
        if all(finding.met for finding in findings):
            return Verdict(True, findings)
        if not best or _met(findings) > _met(best):
            best = findings
    return Verdict(False, best)


def _met(findings: Sequence[Finding]) -> int:
    return sum(finding.met for finding in findings)


def _find(condition: Condition, tags: Tags) -> Finding:
    seen = tuple(tags.get(condition.tag, ()))
    wanted = condition.value.strip().casefold()
    met = any(_meets(condition.operator, value.strip().casefold(), wanted) for value in seen)
    return Finding(condition, seen, met)


def _meets(operator: Operator, value: str, wanted: str) -> bool:
    match operator:
        case Operator.EQUALS:
            return value == wanted
        case Operator.CONTAINS:
            return wanted in value
        case Operator.MATCHES:
            # Python's patterns know sets in brackets; DICOM's do not.
            return fnmatch.fnmatchcase(value, wanted.replace("[", "[[]"))
        case Operator.ONE_OF:
            return value in {part.strip() for part in wanted.split(",")}


def _parse(raw: Mapping[str, Any]) -> Condition:
    unknown = ", ".join(sorted(set(raw) - {"tag", "operator", "value"}))
    if unknown:
        raise ValueError(f"unknown field {unknown}; a condition has tag, operator and value.")
    tag = str(raw.get("tag", "")).strip()
    value = str(raw.get("value", "")).strip()
    _check_tag(tag)
    try:
        operator = Operator(str(raw.get("operator", "")).strip())
    except ValueError:
        known = ", ".join(f"'{operator}'" for operator in Operator)
        raise ValueError(f"operator {raw.get('operator')!r} is unknown; use {known}.") from None
    if not value:
        raise ValueError(f"the value to compare {tag} with is missing; write one.")
    if len(value) > MAX_VALUE:
        raise ValueError(
            f"the value has {len(value)} characters; at most {MAX_VALUE} are possible."
        )
    if operator is Operator.ONE_OF and not all(part.strip() for part in value.split(",")):
        raise ValueError(f"{value!r} has an empty value between its commas; remove the comma.")
    return Condition(tag, operator, value)


def _check_tag(tag: str) -> None:
    number = tag_for_keyword(tag)
    if number is None:
        keywords = [entry[4] for entry in DicomDictionary.values() if entry[4]]
        near = difflib.get_close_matches(tag, keywords, n=1, cutoff=0.7)
        cure = f"did you mean {near[0]}?" if near else "use a keyword of PS3.6, such as Modality."
        raise ValueError(f"tag {tag!r} is unknown; {cure}")
    if _UNREADABLE & set(dictionary_VR(number).split(" or ")):
        raise ValueError(f"tag {tag} holds a sequence or binary data; choose one that holds text.")
