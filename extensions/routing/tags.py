"""Tags as rules see them: values by keyword, from DICOM JSON (PS3.18 annex F). No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydicom.datadict import keyword_for_tag


def from_dicom_json(element_by_tag: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Every value of the top level that is text or a number; names in their alphabetic form."""
    tags: dict[str, tuple[str, ...]] = {}
    for tag, element in element_by_tag.items():
        keyword = keyword_for_tag(int(tag, 16))
        values = tuple(_text(value) for value in element.get("Value", ()) if value is not None)
        if keyword and element.get("vr") != "SQ":
            tags[keyword] = tuple(value for value in values if value)
    return tags


def with_modalities(
    series: Sequence[Mapping[str, tuple[str, ...]]],
) -> list[dict[str, tuple[str, ...]]]:
    """The series, each with `ModalitiesInStudy`, which no instance holds."""
    modalities = tuple(sorted({m for tags in series for m in tags.get("Modality", ())}))
    return [{**tags, "ModalitiesInStudy": modalities} for tags in series]


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("Alphabetic", ""))
    return str(value)
