"""Which studies of a source are wanted: `ModalitiesInStudy=CT,MR&StationName=ER*`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import product
from urllib.parse import parse_qsl

from pydicom.datadict import dictionary_VR, keyword_dict

MOST_FILTERS = 16
_TEXT_VRS = frozenset({"AE", "CS", "DA", "LO", "PN", "SH", "ST", "LT", "UC", "UI", "UT", "TM"})
_MAY_HOLD_COMMAS = frozenset({"PN", "LO", "ST", "LT", "UT", "UC"})  # so one parts no list there
_LONGEST_VALUE = 256
MOST_SEARCHES = 64

type Answer = Mapping[str, Sequence[str]]
"""What a source told of a study: the values by keyword."""


def parse(text: str) -> dict[str, str]:
    """Keyword and value of each condition, as QIDO-RS writes them; raises `ValueError`."""
    if not text.strip():
        return {}
    try:
        pairs = parse_qsl(text.strip(), keep_blank_values=True, strict_parsing=True)
    except ValueError:
        raise ValueError("must be like ModalitiesInStudy=CT&StationName=ER*") from None
    if len(pairs) > MOST_FILTERS:
        raise ValueError(f"has more than {MOST_FILTERS} conditions")
    found: dict[str, str] = {}
    for keyword, value in pairs:
        _check(keyword, value)
        if keyword in found:
            raise ValueError(f"names {keyword} twice; use a list, {keyword}=A,B")
        found[keyword] = value
    if len(alternatives(found)) > MOST_SEARCHES:
        raise ValueError(f"lists so many values that it means over {MOST_SEARCHES} searches")
    return found


def alternatives(wanted: Mapping[str, str]) -> list[dict[str, str]]:
    """One search for each value of a list: QIDO-RS and C-FIND know lists of UIDs alone."""
    choices = [
        [(keyword, value) for value in _listed(keyword, text)] for keyword, text in wanted.items()
    ]
    return [dict(chosen) for chosen in product(*choices)]


def _listed(keyword: str, text: str) -> list[str]:
    if dictionary_VR(keyword_dict[keyword]) in _MAY_HOLD_COMMAS:
        return [text]
    return [value.strip() for value in text.split(",")]


def _check(keyword: str, value: str) -> None:
    tag = keyword_dict.get(keyword)
    if tag is None or dictionary_VR(tag) not in _TEXT_VRS:
        raise ValueError(f"{keyword[:64]!r} is no keyword of PS3.6 that holds text")
    if keyword == "Modality":
        raise ValueError("Modality is of a series; use ModalitiesInStudy")
    if not 1 <= len(value) <= _LONGEST_VALUE:
        raise ValueError(f"{keyword} needs a value of 1 to {_LONGEST_VALUE} characters")


def agree(wanted: Mapping[str, str], told: Answer) -> bool:
    """Whether a study may be meant: a source may ignore a condition, but not contradict it."""
    return all(
        any(_matches(keyword, pattern, value) for value in told[keyword])
        for keyword, pattern in wanted.items()
        if told.get(keyword)
    )


def _matches(keyword: str, pattern: str, value: str) -> bool:
    kind = dictionary_VR(keyword_dict[keyword])
    if kind in {"DA", "TM"} and "-" in pattern:
        first, _, last = pattern.partition("-")
        return first <= value and (not last or value[: len(last)] <= last)
    value = value.strip().casefold()
    if kind == "PN":
        value = value.partition("=")[0]
    # fnmatch knows [sets]; PS3.4 C.2.2.2.4 only * and ?.
    return any(
        fnmatchcase(value, p.strip().casefold().replace("[", "[[]"))
        for p in _listed(keyword, pattern)
    )
