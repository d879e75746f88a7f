"""What a condition can look at: DICOM attributes by name, and facts that no instance holds. No I/O.

- ``Modality``: a keyword of PS3.6.
- ``RequestAttributesSequence.ScheduledProcedureStepID``: in a sequence; any of its items will do.
- ``(0019,"SIEMENS CT VA0 COAD",10)``: a private element; its block is found by its creator
  (PS3.5 section 7.8.1), whichever was reserved.
- ``calling_aet``, ``instance_count``, ``result.NAME``...: facts, in small letters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache

from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import keyword_for_tag

from extensions.routing.changes import tag_path
from extensions.routing.rules.complaints import did_you_mean
from extensions.routing.rules.condition_kinds import (
    ANY,
    NUMBER,
    OPAQUE,
    TEXT,
    TIME,
    WEEKDAY,
    Kind,
    is_clean,
    kind_of_vr,
)

FACTS: dict[str, Kind] = {
    "calling_aet": TEXT,
    "called_aet": TEXT,
    "sender": TEXT,
    "instance_count": NUMBER,
    "series_count": NUMBER,
    "time_of_day": TIME,
    "weekday": WEEKDAY,
    "labels": TEXT,
}
RESULT = "result."

MOST_STEPS = 8
_FACT = re.compile(r"[a-z]\w*(\..*)?", re.ASCII)
_RESULT_NAME = re.compile(r"[a-z0-9_.-]{1,64}")
_NUMBERED = re.compile(r"\(?([0-9a-f]{4}),?([0-9a-f]{4})\)?", re.IGNORECASE)


@dataclass(frozen=True)
class Field:
    """A name as it is written, the keys of the facts that lead to its values, and their kind."""

    name: str
    path: tuple[str, ...]
    kind: Kind

    def __str__(self) -> str:
        return self.name


def private_key(group: int, element: int, creator: str) -> str:
    """How facts name a private element; `element` without its block."""
    return f'({group:04x},"{" ".join(creator.split()).casefold()}",{element:02x})'


@lru_cache(maxsize=4096)
def parse_field(text: str) -> Field:
    """A field by its name; raises ValueError telling what is wrong and the cure."""
    if not is_clean(text):
        raise ValueError("holds control characters; remove them.")
    numbered = _NUMBERED.fullmatch(text)
    if numbered and (keyword := keyword_for_tag(int(numbered[1] + numbered[2], 16))):
        raise ValueError(f"{text} is written by its keyword; write {keyword}.")
    if _FACT.fullmatch(text):
        return _fact(text)
    path = tag_path.parse(text)
    if len(path.steps) > MOST_STEPS:
        raise ValueError(f"lies more than {MOST_STEPS} deep; choose one that lies higher.")
    return Field(path.text, tuple(map(_key, path.steps)), _kind(path.steps[-1]))


def _fact(text: str) -> Field:
    if text.startswith(RESULT) and _RESULT_NAME.fullmatch(text.removeprefix(RESULT)):
        return Field(text, (text,), ANY)
    if text not in FACTS:
        cure = did_you_mean(text, [*FACTS, *_keywords()])
        cure = cure or f"use {RESULT}NAME or one of {', '.join(FACTS)}."
        raise ValueError(f"{text[:64]!r} is unknown; {cure}")
    return Field(text, (text,), FACTS[text])


def _key(step: tag_path.Step) -> str:
    if step.creator:
        return private_key(step.tag >> 16, step.tag & 0xFF, step.creator)
    return keyword_for_tag(step.tag)


def _kind(step: tag_path.Step) -> Kind:
    kind = kind_of_vr(step.vr)
    # A private element whose VR was lost on its way may be text.
    return ANY if step.creator and kind is OPAQUE and step.vr != "SQ" else kind


@cache
def _keywords() -> tuple[str, ...]:
    return tuple(entry[4] for entry in DicomDictionary.values() if entry[4])
