"""DICOM JSON (PS3.18 annex F) of a data set that need not be flawless. No I/O."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from pydicom import Dataset
from pydicom.errors import InvalidDicomError

from extensions.routing.rules import facts

DAMAGED = (
    InvalidDicomError,
    ValueError,
    TypeError,
    AttributeError,
    KeyError,
    NotImplementedError,
    EOFError,
    OSError,
)
"""What pydicom raises for what it cannot read; its words quote the object."""


def of_readable(dataset: Dataset) -> dict[str, Any]:
    """What can be read, long binary values as references; a damaged element is as if absent."""
    told: dict[str, Any] = {}
    for tag in list(dataset.keys()):
        with suppress(*DAMAGED):
            told[f"{tag:08X}"] = dataset[tag].to_json_dict(lambda _: "", facts.LONGEST_BYTES)
    return told
