"""What conditions look at, from DICOM JSON (PS3.18 annex F) and what is known besides. No I/O.

Facts are plain JSON, to be kept per series: values by keyword, private ones by `private_key`,
the items of a sequence as facts of their own. An empty element is absent. None in a list stands
for what is there and not kept: binary data, long values, too many of them.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import keyword_for_tag

from extensions.routing.rules.condition_fields import RESULT, private_key
from extensions.routing.rules.condition_kinds import WEEKDAYS

type Facts = dict[str, list[Any]]

LONGEST_BYTES = 1024  # of a value
MOST_VALUES = 64  # of an element
MOST_ITEMS = 16  # of a sequence
MOST_DEEP = 8
MOST_BYTES = 65536  # of values altogether; of the rest only its presence is kept

_BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})


def of_series(
    element_by_tag: Mapping[str, Any],
    *,
    calling_aet: str = "",
    called_aet: str = "",
    sender: str = "",
    instance_count: int | None = None,
) -> Facts:
    """One instance stands for its series; who sent it, and how many instances it has."""
    known = {"calling_aet": calling_aet, "called_aet": called_aet, "sender": sender}
    facts = from_dicom_json(element_by_tag)
    facts.update({name: [_clean(value)] for name, value in known.items() if value})
    if instance_count is not None:
        facts["NumberOfSeriesRelatedInstances"] = [instance_count]
    return facts


def of_study(
    series: Sequence[Mapping[str, Sequence[Any]]],
    *,
    instance_count: int,
    labels: Iterable[str] = (),
    results: Mapping[str, object] | None = None,
) -> Facts:
    """What no instance holds; `results` of other extensions by name, several values in a list."""
    modalities = {value for facts in series for value in facts.get("Modality", ())}
    facts: Facts = {
        "ModalitiesInStudy": sorted(modality for modality in modalities if modality),
        "instance_count": [instance_count],
        "series_count": [len(series)],
        "labels": [_clean(label) for label in labels],
    }
    for name, result in (results or {}).items():
        values = result if isinstance(result, list | tuple) else [result]
        facts[RESULT + name] = _Keeper().values(values)
    return facts


def at(moment: datetime) -> Facts:
    """The time of day and the weekday, as the clock on the wall shows them."""
    return {
        "time_of_day": [moment.strftime("%H%M%S.%f")],
        "weekday": [WEEKDAYS[moment.weekday()]],
    }


def from_dicom_json(element_by_tag: Mapping[str, Any]) -> Facts:
    """The attributes of an instance."""
    return _Keeper().dataset(element_by_tag, 1)


class _Keeper:
    """Keeps values until there are too many bytes of them."""

    def __init__(self) -> None:
        self._left = MOST_BYTES

    def dataset(self, element_by_tag: Mapping[str, Any], depth: int) -> Facts:
        facts: Facts = {}
        creators = _creators(element_by_tag)
        for tag, element in element_by_tag.items():
            name = _name(int(tag, 16), creators)
            values = self._element(element, depth) if name else []
            if values:
                facts[name] = facts.get(name, []) + values
        return facts

    def _element(self, element: Mapping[str, Any], depth: int) -> list[Any]:
        vr = element.get("vr", "UN")
        if vr == "SQ":
            return self._items(element.get("Value", ()), depth)
        if "Value" not in element or vr in _BINARY:
            text = _text_in(element) if vr == "UN" else None
            present = "BulkDataURI" in element or element.get("InlineBinary") or "Value" in element
            return self.values(text) if text else [None] if present else []
        return self.values(element["Value"])

    def _items(self, items: Sequence[Any], depth: int) -> list[Any]:
        kept = [] if depth >= MOST_DEEP else items[:MOST_ITEMS]
        facts: list[Any] = [self.dataset(item or {}, depth + 1) for item in kept]
        return facts + [None] * (len(kept) < len(items))

    def values(self, given: Sequence[Any]) -> list[Any]:
        values = [value for raw in given[:MOST_VALUES] for value in _plain(raw)]
        if len(given) > MOST_VALUES:
            values.append(None)
        return [self._kept(value) for value in values]

    def _kept(self, value: Any) -> Any:
        size = len(value.encode()) if isinstance(value, str) else 8
        if value is None or size > min(LONGEST_BYTES, self._left):
            return None
        self._left -= size
        return value


def _plain(raw: Any) -> list[Any]:
    """The values that one of DICOM JSON stands for; a name has up to three ways of writing."""
    if raw is None:
        return []
    if isinstance(raw, Mapping):
        ways = (_clean(str(raw.get(way, ""))) for way in ("Alphabetic", "Ideographic", "Phonetic"))
        return [way for way in ways if way.rstrip("^ ")]
    if isinstance(raw, float) and not math.isfinite(raw):
        return [str(raw)]  # PostgreSQL's JSON knows no NaN
    if isinstance(raw, bool | int | float):
        return [raw]
    text = _clean(str(raw))
    return [text] if text else []


def _clean(text: str) -> str:
    """Without what PostgreSQL's JSON refuses: U+0000 and halves of surrogate pairs."""
    return text.replace("\0", "").encode(errors="replace").decode().strip()


def _text_in(element: Mapping[str, Any]) -> list[str] | None:
    """The values of an element whose VR was lost on its way, if they are text."""
    coded = element.get("InlineBinary", "")
    if not coded or len(coded) > LONGEST_BYTES * 4 // 3:
        return None
    try:
        text = base64.b64decode(coded, validate=True).rstrip(b" \0").decode("ascii")
    except ValueError:
        return None
    return text.split("\\") if text.isprintable() else None


def _creators(element_by_tag: Mapping[str, Any]) -> dict[int, str]:
    """Who reserved a block (PS3.5 section 7.8.1), by ``(group << 8) + block``."""
    creators = {}
    for tag, element in element_by_tag.items():
        number = int(tag, 16)
        if number >> 16 & 1 and 0x10 <= number & 0xFFFF <= 0xFF:
            values = element.get("Value") or _text_in(element)
            if values:
                creators[(number >> 16 << 8) + (number & 0xFF)] = str(values[0])
    return creators


def _name(tag: int, creators: Mapping[int, str]) -> str:
    """The key of an element; empty where nobody can name it."""
    if not tag >> 16 & 1:
        entry = DicomDictionary.get(tag)
        return entry[4] if entry else keyword_for_tag(tag)  # which knows repeating groups, slowly
    creator = creators.get((tag >> 16 << 8) + (tag >> 8 & 0xFF))
    return private_key(tag >> 16, tag & 0xFF, creator) if creator else ""
