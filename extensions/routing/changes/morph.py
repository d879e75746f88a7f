"""The action *morph*: an ordered list of changes to tags, noted so that it can be reverted. No I/O.

What is sent is changed; the archive keeps what was received. The Original Attributes Sequence
(`original_attributes.py`) holds what was there before; its `revert` brings that back exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydicom import Dataset, config
from pydicom.dataelem import DataElement
from pydicom.tag import BaseTag, Tag

from extensions.routing.changes import character_set, glob_replace, tag_path, tag_values
from extensions.routing.changes.morph_settings import Affix, Change, Copy, Map, Remove, Replace, Set
from extensions.routing.changes.original_attributes import Note, Written, excerpt, record
from extensions.routing.changes.tag_path import Step, TagPath
from gateway.errors import GatewayError

type Values = list[str] | None
"""None: the tag is absent; an empty list: it has no value."""


class CannotMorph(GatewayError):
    """An instance cannot be changed as the rule says.

    Correct the rule, or what it looks up; then release the instance, or have it sent again.
    """

    http_status = 409
    dimse_status = 0xC000


def morph(dataset: Dataset, changes: Sequence[Change], note: Note) -> Dataset:
    """The data set, changed in place; raises `CannotMorph`, which never quotes a value.

    What has no effect leaves no note.
    """

    def change_all(dataset: Dataset, written: Written) -> None:
        for change in changes:
            try:
                _apply(dataset, written, change)
            except character_set.NotWritable:
                raise
            except ValueError as error:
                raise CannotMorph(f"{change.do} {change.tag}: {error}.") from None

    # What was received need not be valid, and pydicom's complaints would quote it.
    with config.disable_value_validation():
        paths = [path for change in changes for path in _paths(change)]
        roots = [tag for path in paths if (tag := path.steps[0].find(dataset)) is not None]
        try:
            record(dataset, note, roots, change_all)
        except character_set.NotWritable:
            known = ", ".join(character_set.declared(dataset)) or "ASCII"
            told = f"Its text is in {known}, which lacks a character of the new text."
            raise CannotMorph(told) from None
    return dataset


def first_value(dataset: Dataset, path: TagPath) -> str:
    """The first value that is there, without spaces at its ends; empty: none. Decodes nothing.

    Raises `CannotMorph` where it cannot be read.
    """
    root = path.steps[0].find(dataset)
    if root is None:
        return ""
    found = excerpt(dataset, root)
    try:
        with config.disable_value_validation():
            values = [_read(item, path.steps[-1]) or [] for item in path.items(found)]
    except ValueError as error:
        raise CannotMorph(f"{path}: {error}.") from None
    return next((v.strip() for several in values for v in several if v.strip()), "")


def _paths(change: Change) -> list[TagPath]:
    written = tag_path.parse(change.tag)
    return [tag_path.parse(change.from_), written] if isinstance(change, Copy) else [written]


def _apply(dataset: Dataset, written: Written, change: Change) -> None:
    path = tag_path.parse(change.tag)
    for item in path.items(dataset):
        new = _new_values(change, dataset, item, path.steps[-1])
        present = _present(item, path.steps[-1])
        if new is None and present is not None:
            del item[present]
            written.tags.add(_root(dataset, path))
        elif new is not None and not _same(item, path.steps[-1], new):
            vr = change.vr if isinstance(change, Set) else ""
            _write(dataset, item, path, new, vr, written)


def _new_values(change: Change, dataset: Dataset, item: Dataset, step: Step) -> Values:
    match change:
        case Remove():
            return None
        case Set():
            return change.values
        case Copy():
            return _copied(change, dataset, item) or _read(item, step)
    old = _read(item, step)
    if not old:
        return old
    match change:
        case Replace():
            return _each(old, _replacement(change))
        case Map():
            return _mapped(change, old)
        case Affix(do="prefix"):
            return _each(old, lambda value: change.text + value)
        case Affix():
            return _each(old, lambda value: value + change.text)


def _each(values: list[str], change: Callable[[str], str]) -> list[str]:
    return [change(value) if value else value for value in values]


def _replacement(change: Replace) -> Callable[[str], str]:
    glob = glob_replace.Glob(change.pattern)

    def replaced(value: str) -> str:
        caught = glob.match(value.strip())
        return value if caught is None else glob_replace.expand(change.with_, caught)

    return replaced


def _mapped(change: Map, old: list[str]) -> Values:
    found = [(value, change.table.get(value.strip())) for value in old]
    if change.otherwise == "keep":
        return [value if new is None else new for value, new in found]
    known = [new for _, new in found if new is not None]
    if change.otherwise == "fail" and len(known) < len(old):
        raise ValueError("a value is not in the table; add it, or say what to do otherwise")
    return known or None


def _copied(change: Copy, dataset: Dataset, item: Dataset) -> Values:
    source, target = tag_path.parse(change.from_), tag_path.parse(change.to)
    beside = source.steps[:-1] == target.steps[:-1]
    for place in [item] if beside else source.items(dataset):
        if values := _read(place, source.steps[-1]):
            tag_values.check_number(values, target.values)
            return values
    return None


def _present(item: Dataset, step: Step) -> BaseTag | None:
    tag = step.find(item)
    return None if tag is None or BaseTag(tag) not in item else BaseTag(tag)


def _read(item: Dataset, step: Step) -> Values:
    tag = _present(item, step)
    if tag is None:
        return None
    try:
        return tag_values.values_of(item[tag].value)
    except Exception:  # noqa: BLE001  pydicom raises many kinds, and they quote the value
        raise ValueError("what is there cannot be read; set it or remove it") from None


def _same(item: Dataset, step: Step, new: list[str]) -> bool:
    try:
        return _read(item, step) == new
    except ValueError:
        return False


def _root(dataset: Dataset, path: TagPath) -> int:
    tag = path.steps[0].find(dataset)
    assert tag is not None  # something was written there
    return tag


def _write(
    dataset: Dataset, item: Dataset, path: TagPath, values: list[str], vr: str, written: Written
) -> None:
    step = path.steps[-1]
    is_new_block = bool(step.creator) and step.find(item) is None
    tag = BaseTag(step.reserve(item))
    vr = vr or step.vr or (item[tag].VR if tag in item else "LO")
    if vr == "UN":  # a private tag that nobody knows
        tag_values.check("UT", values)
        text = "\\".join(values).encode("ascii")
        item[tag] = DataElement(tag, vr, text + b" " * (len(text) % 2))
    else:
        tag_values.check(vr, values)
        _check_characters(dataset, item, vr, values, written)
        parsed = [tag_values.parse(vr, value) if value else "" for value in values]
        item[tag] = DataElement(
            tag, vr, parsed if len(parsed) > 1 else parsed[0] if parsed else None
        )
    written.tags.add(_root(dataset, path))
    if is_new_block and item is dataset:
        written.tags.add(Tag(tag.group, tag.element >> 8))


def _check_characters(
    dataset: Dataset, item: Dataset, vr: str, values: list[str], written: Written
) -> None:
    if vr not in tag_values.ENCODED_TEXT:
        return
    own = character_set.declared(item)
    if character_set.bears(own or character_set.declared(dataset), values):
        return
    if own and item is not dataset:
        raise character_set.NotWritable
    written.needs_utf_8 = True
