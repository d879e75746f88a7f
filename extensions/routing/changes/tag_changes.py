"""Which tags of an instance a rule's transforms change, for people. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydicom import DataElement, Dataset
from pydicom.datadict import keyword_for_tag

LONGEST = 64  # characters of a value that are shown
MOST = 40  # changes of an instance that are shown


@dataclass(frozen=True)
class TagChange:
    """A tag by its keyword and path; None: it is not there."""

    tag: str
    before: str | None
    after: str | None


def tag_changes(before: Dataset, after: Dataset) -> tuple[list[TagChange], int]:
    """The first `MOST` changes in the order of tags, and how many there are."""
    found = list(_changes(before, after, ""))
    return found[:MOST], len(found)


def _changes(before: Dataset, after: Dataset, within: str) -> Iterator[TagChange]:
    for tag in sorted({*before.keys(), *after.keys()}):
        old, new = before.get(tag), after.get(tag)
        if old == new:
            continue
        name = within + (keyword_for_tag(tag) or str(tag))
        if _same_items(old, new):
            for number, pair in enumerate(zip(old.value, new.value, strict=True)):
                yield from _changes(*pair, f"{name}[{number}].")
        else:
            yield TagChange(name, _shown(old), _shown(new))


def _same_items(old: DataElement | None, new: DataElement | None) -> bool:
    """Whether both are sequences of as many items, so that each can be compared."""
    if old is None or new is None or not old.VR == new.VR == "SQ":
        return False
    return len(old.value) == len(new.value)


def _shown(element: DataElement | None) -> str | None:
    if element is None:
        return None
    if element.VR == "SQ":
        return f"({len(element.value)} item{'s'[: len(element.value) != 1]})"
    if isinstance(element.value, bytes):
        return f"({len(element.value)} bytes)"
    values = element.value if element.VM > 1 else [element.value]
    text = "\\".join("" if value is None else str(value) for value in values)
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"
