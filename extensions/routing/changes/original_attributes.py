"""What a data set was before it was changed: its Original Attributes Sequence. No I/O.

Each `record` adds one item to (0400,0561) (PS3.3 section C.12.1.1.9): the prior values of what was
added, replaced or removed at the top level; of a sequence, all of it. `revert` takes our items
away again and puts back what they hold.

An absent attribute stands there with a zero length, and so does an empty one: a private element
of ours lists those that were absent. Prior values are kept as their bytes, which also brings back
values that no VR allows; nothing else of the data set is decoded and encoded again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, MutableSequence
from dataclasses import dataclass, field

from pydicom import Dataset, Sequence
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.tag import BaseTag, Tag

from extensions.routing.changes import character_set
from extensions.routing.changes.tag_values import values_of

type Encodings = str | MutableSequence[str]
type Elements = dict[int, DataElement | RawDataElement]

_ORIGINALS = Tag("OriginalAttributesSequence")
BEFORE_STORAGE = "ARGONATH before storage"  # a note's system, where a rule of that trigger wrote it
_CREATOR = "ARGONATH ORIGINAL"
_CREATOR_TAG = Tag(0x0401, 0x0010)
_ABSENT = Tag(0x0401, 0x1001)


@dataclass(frozen=True)
class Note:
    """What an item says about the change; `at` is a DT (PS3.5), `system` and `source` are LO."""

    at: str
    system: str
    reason: str = "COERCE"
    source: str = ""


@dataclass
class Written:
    """The top-level tags in which a change wrote, and whether its text needs UTF-8."""

    tags: set[int] = field(default_factory=set)
    needs_utf_8: bool = False


def record(
    dataset: Dataset, note: Note, roots: Iterable[int], change: Callable[[Dataset, Written], None]
) -> bool:
    """Do `change`, and note what it has changed; False: nothing.

    `roots` are the top-level tags below which it may read and write. Raises
    `character_set.NotWritable`, and what `change` raises; the data set is then of no use.
    """
    before: Elements = {tag: dataset.get_item(tag) for tag in dataset.keys()}  # noqa: SIM118
    for root in roots:
        if isinstance(before.get(root), DataElement):  # what was read is changed in place
            before[root] = copy.deepcopy(before[root])
    prior_encodings = dataset.original_character_set
    result = Written()
    change(dataset, result)
    written = {tag for tag in result.tags if tag in before or BaseTag(tag) in dataset}
    if result.needs_utf_8:
        character_set.widen(dataset, before.values())
        written.add(character_set.TAG)
    for tag, element in before.items():
        if tag not in written and dataset.get_item(tag) is not element:
            _put(dataset, element)  # it was only read: let its bytes be as they were
    if not written:
        return False
    _append(dataset, _item(dataset, note, before, written, prior_encodings))
    return True


def excerpt(dataset: Dataset, root: int) -> Dataset:
    """A data set with one top-level element, to read it without decoding it in the other."""
    found = _beside(dataset, dataset.original_character_set)
    creator = Tag(root >> 16, (root & 0xFFFF) >> 8)
    for tag in {BaseTag(root), creator} if BaseTag(root).is_private else {BaseTag(root)}:
        if tag in dataset:
            _put(found, copy.deepcopy(dataset.get_item(tag)))
    return found


def revert(dataset: Dataset) -> int:
    """Undo what `record` did, and leave no trace; how many changes there were.

    What another system has noted after us is the end of what can be undone.
    """
    undone = 0
    while item := _last_of_ours(dataset):
        _undo(dataset, item)
        undone += 1
    return undone


def _item(
    dataset: Dataset,
    note: Note,
    before: Elements,
    written: set[int],
    prior_encodings: Encodings,
) -> Dataset:
    absent = {tag for tag in written if tag not in before}
    modified = _beside(dataset, prior_encodings)
    for tag in sorted(written):
        if tag not in absent:
            _put(modified, before[tag])
        elif not BaseTag(tag).is_private:  # those would need a creator, who was absent too
            _put(modified, DataElement(tag, _vr_of(dataset, tag), None))
    for tag in sorted(written):
        creator = Tag(tag >> 16, (tag & 0xFFFF) >> 8)
        if BaseTag(tag).is_private and creator in before:
            _put(modified, before[creator])
    if character_set.TAG in written:
        character_set.keep_bytes(modified)
    if _ORIGINALS not in before:
        absent.add(_ORIGINALS)

    item = _beside(dataset, dataset.original_character_set)
    item.ModifiedAttributesSequence = Sequence([modified])
    item.AttributeModificationDateTime = note.at
    item.ModifyingSystem = note.system
    item.SourceOfPreviousValues = note.source
    item.ReasonForTheAttributeModification = note.reason
    item[_CREATOR_TAG] = DataElement(_CREATOR_TAG, "LO", _CREATOR)
    # Text, not AT: in implicit VR a reader that does not know us sees it too.
    item[_ABSENT] = DataElement(_ABSENT, "LO", [f"{tag:08X}" for tag in sorted(absent)])
    return item


def _append(dataset: Dataset, item: Dataset) -> None:
    if _ORIGINALS not in dataset:
        dataset[_ORIGINALS] = DataElement(_ORIGINALS, "SQ", Sequence())
    dataset[_ORIGINALS].value.append(item)


def _last_of_ours(dataset: Dataset) -> Dataset | None:
    if _ORIGINALS not in dataset or not dataset[_ORIGINALS].value:
        return None
    item: Dataset = dataset[_ORIGINALS].value[-1]
    if _CREATOR_TAG not in item:
        return None
    creator = item.get_item(_CREATOR_TAG).value  # not decoded: it may be another system's
    return item if _CREATOR in (creator, _text(creator)) else None


def _undo(dataset: Dataset, item: Dataset) -> None:
    absent = {int(tag, 16) for tag in values_of(item[_ABSENT].value)}
    modified = item.ModifiedAttributesSequence[0]
    dataset[_ORIGINALS].value.pop()
    for tag in absent - {_ORIGINALS}:
        if tag in dataset:
            del dataset[BaseTag(tag)]
    for tag in modified.keys():  # noqa: SIM118
        if tag not in absent:
            _put(dataset, modified.get_item(tag))
    if character_set.TAG in modified:
        character_set.keep_bytes(dataset)
    if _ORIGINALS in absent:
        del dataset[_ORIGINALS]


def _beside(dataset: Dataset, encodings: Encodings) -> Dataset:
    """An empty item, in which bytes of the data set are written as they are."""
    item = Dataset(parent_encoding=encodings)
    character_set.mark_read(item, like=dataset, encodings=encodings)
    return item


def _put(dataset: Dataset, element: DataElement | RawDataElement) -> None:
    """Set an element without decoding it, which pydicom does where the block's creator is known."""
    tag = element.tag
    creator = dataset.get_item(Tag(tag.group, tag.element >> 8)) if tag.is_private else None
    if creator is None or creator.tag == tag:
        dataset[tag] = element
        return
    del dataset[creator.tag]
    dataset[tag] = element
    dataset[creator.tag] = creator


def _text(value: object) -> str:
    return value.decode("ascii", "replace").strip(" \0") if isinstance(value, bytes) else ""


def _vr_of(dataset: Dataset, tag: int) -> str:
    return str(dataset[tag].VR) if tag in dataset else dictionary_VR(tag)
