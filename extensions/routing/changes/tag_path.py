"""Where a value is in an instance: a keyword, a path into sequences, a private tag. No I/O.

`PatientID`; `RequestAttributesSequence.AccessionNumber`, which is in every item of the sequence;
`(0019,"SIEMENS CT VA0 COAD",10)`, an element of the block that this creator reserved (PS3.5
section 7.8.1).
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from functools import lru_cache

from pydicom import Dataset
from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import dictionary_VM, dictionary_VR, private_dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.tag import Tag

_STEP = re.compile(
    r"""(?P<keyword>[A-Za-z][A-Za-z0-9]{0,63})
      | \((?P<group>[0-9A-Fa-f]{4}),"(?P<creator>[^"\\]{1,64})",(?P<element>[0-9A-Fa-f]{2})\)""",
    re.VERBOSE,
)
_FIRST_BLOCK, _LAST_BLOCK = 0x10, 0xFF


@dataclass(frozen=True)
class Step:
    """One tag; with a `creator`, `tag` is its group and the element within the reserved block."""

    tag: int
    creator: str = ""

    @property
    def vr(self) -> str:
        """Its VR as the dictionaries have it, such as ``US or SS``; empty: unknown."""
        try:
            if self.creator:
                return str(private_dictionary_VR(self.tag | _FIRST_BLOCK << 8, self.creator))
            return str(dictionary_VR(self.tag))
        except KeyError:
            return ""

    def find(self, dataset: Dataset) -> int | None:
        """The element's tag in this data set, whether or not it is there; None: no such block."""
        if not self.creator:
            return self.tag
        group = self.tag >> 16
        for tag in dataset.keys():  # noqa: SIM118  iterating a data set gives its elements
            is_creator = tag.group == group and _FIRST_BLOCK <= tag.element <= _LAST_BLOCK
            if is_creator and _text(dataset.get_item(tag).value) == self.creator:
                return self.tag | tag.element << 8
        return None

    def reserve(self, dataset: Dataset) -> int:
        """The element's tag in this data set; its block is reserved where it is not yet."""
        found = self.find(dataset)
        if found is not None:
            return found
        group = self.tag >> 16
        for block in range(_FIRST_BLOCK, _LAST_BLOCK + 1):
            if Tag(group, block) not in dataset:
                dataset[Tag(group, block)] = DataElement(Tag(group, block), "LO", self.creator)
                return self.tag | block << 8
        raise ValueError(f"group {group:04X} has no free private block")


@dataclass(frozen=True)
class TagPath:
    """Tags from the top level of an instance down to one element; all but the last are SQ."""

    text: str
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return self.text

    @property
    def vr(self) -> str:
        """The last tag's VR; see `Step.vr`."""
        return self.steps[-1].vr

    @property
    def values(self) -> tuple[int, int | None]:
        """How many values it may have (value multiplicity, PS3.6); None: any number."""
        if self.steps[-1].creator:
            return 1, None
        least, _, most = dictionary_VM(self.steps[-1].tag).partition("-")
        if not most:
            return int(least), int(least)
        return int(least), None if most.endswith("n") else int(most)

    def items(self, dataset: Dataset) -> list[Dataset]:
        """Every data set in which the last tag is, or would be."""
        items = [dataset]
        for step in self.steps[:-1]:
            items = [inner for item in items for inner in _items_of(item, step)]
        return items


@lru_cache(maxsize=4096)
def parse(text: str) -> TagPath:
    """The path that is written there; raises ValueError with the cure."""
    steps: list[Step] = []
    place = 0
    while match := _STEP.match(text, place):
        steps.append(_step(match))
        place = match.end()
        if place == len(text):
            break
        if text[place] != ".":
            raise ValueError(_malformed(text))
        place += 1
    if not steps or place != len(text) or text.endswith("."):
        raise ValueError(_malformed(text))
    for step in steps[:-1]:
        if step.vr not in {"SQ", ""}:
            raise ValueError(f"{text!r}: only the last tag of a path may not be a sequence")
    return TagPath(text, tuple(steps))


def _step(match: re.Match[str]) -> Step:
    if keyword := match["keyword"]:
        tag = tag_for_keyword(keyword)
        if tag is None:
            raise ValueError(_unknown(keyword))
        return Step(tag)
    group = int(match["group"], 16)
    if group % 2 == 0 or group in {1, 3, 5, 7, 0xFFFF}:
        raise ValueError(f"group {match['group']} is not a private one; use the keyword of the tag")
    return Step(group << 16 | int(match["element"], 16), match["creator"].strip())


def _items_of(item: Dataset, step: Step) -> list[Dataset]:
    tag = step.find(item)
    if tag is None or tag not in item or item[tag].VR != "SQ":
        return []
    return list(item[tag].value)


def _text(value: object) -> str:
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")
    return text.strip(" \0")


def _unknown(keyword: str) -> str:
    keywords = [entry[4] for entry in DicomDictionary.values() if entry[4]]
    near = difflib.get_close_matches(keyword, keywords, n=1, cutoff=0.7)
    cure = f"did you mean {near[0]}?" if near else "use a keyword of PS3.6, such as PatientID"
    return f"tag {keyword!r} is unknown; {cure}"


def _malformed(text: str) -> str:
    return (
        f"{text!r} is no tag; write a keyword such as PatientID, a path such as "
        'RequestAttributesSequence.AccessionNumber, or a private tag as (0019,"CREATOR",10)'
    )
