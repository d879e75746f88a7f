"""Whether text can be written in an object's Specific Character Set (PS3.3 C.12.1.1.2). No I/O."""

from __future__ import annotations

from collections.abc import Iterable, MutableSequence

from pydicom import Dataset
from pydicom.charset import convert_encodings, default_encoding
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element
from pydicom.tag import Tag

from extensions.routing.changes.tag_values import ENCODED_TEXT, values_of

TAG = Tag("SpecificCharacterSet")
_UTF_8 = "ISO_IR 192"
# In these a byte of ASCII may be something else: a yen sign, or half of a character.
_NOT_ASCII = frozenset({"ISO_IR 13", "ISO 2022 IR 13", "GB18030", "GBK"})
_ESCAPE = b"\x1b"


class NotWritable(ValueError):
    """New text has characters that the object's character set lacks."""


def declared(dataset: Dataset) -> list[str]:
    """The defined terms of (0008,0005); none: ASCII."""
    return [name for name in values_of(dataset.get("SpecificCharacterSet")) if name]


def bears(names: list[str], values: Iterable[str]) -> bool:
    """Whether all of the values can be written in a character set of these names."""
    text = "".join(values)
    if text.isascii():
        return True
    if not names or names == ["ISO_IR 6"]:
        return False
    return any(_encodes(encoding, text) for encoding in convert_encodings(names))


def widen(dataset: Dataset, received: Iterable[DataElement | RawDataElement]) -> None:
    """Make the character set UTF-8, if no byte of what was received means something else then.

    Raises `NotWritable` where one does: text that is not ASCII.
    """
    if _NOT_ASCII & set(declared(dataset)):
        raise NotWritable
    if not all(_is_ascii(element, dataset) for element in received):
        raise NotWritable
    dataset[TAG] = DataElement(TAG, "CS", _UTF_8)  # the one that was there stays as it is
    keep_bytes(dataset)


def keep_bytes(dataset: Dataset) -> None:
    """Have pydicom write bytes as they are after the character set was changed (see `widen`)."""
    encodings: str | MutableSequence[str] = default_encoding
    if TAG in dataset:
        encodings = convert_encodings(dataset[TAG].value)
    mark_read(dataset, like=dataset, encodings=encodings)


def mark_read(dataset: Dataset, *, like: Dataset, encodings: str | MutableSequence[str]) -> None:
    """Have pydicom take bytes for ones that were read in these encodings: it writes them as is."""
    is_implicit, is_little_endian = like.original_encoding
    dataset.set_original_encoding(is_implicit, is_little_endian, encodings)


def _encodes(encoding: str, text: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeError, LookupError):
        return False
    return True


def _is_ascii(element: DataElement | RawDataElement, dataset: Dataset) -> bool:
    vr = element.VR or _vr(element.tag)
    if vr == "SQ":
        if isinstance(element, RawDataElement):
            element = convert_raw_data_element(
                element, encoding=dataset.original_character_set, ds=dataset
            )
        return all(
            _is_ascii(item.get_item(tag), item)
            for item in element.value
            for tag in item.keys()  # noqa: SIM118
        )
    if vr not in ENCODED_TEXT:
        return True
    if isinstance(element.value, bytes):
        return element.value.isascii() and _ESCAPE not in element.value
    return all(value.isascii() for value in values_of(element.value))


def _vr(tag: int) -> str:
    try:
        return str(dictionary_VR(tag))
    except KeyError:
        return "UN"
