"""A C-STORE of a file without StudyInstanceUID or SeriesInstanceUID gets an answer of ours.

Orthanc would refuse it by itself, as "out of resources", before any hook that knows the sender. So
what arrives without them is replaced by an empty object whose UIDs are none: that passes on to
admission, which knows the sender, refuses it as unusable and audits it.
"""

from __future__ import annotations

import logging
import struct
from functools import cache
from io import BytesIO

from orthanc_plugins.sdk import Origin, Received

log = logging.getLogger(__name__)

_TAGS = (b"\x20\x00\x0d\x00", b"\x20\x00\x0e\x00")
_KEYWORDS = ("StudyInstanceUID", "SeriesInstanceUID")
# Explicit and implicit VR Little Endian; either way the value begins 8 bytes after the tag.
_EMPTY = (b"UI\0\0", b"\0\0\0\0")
_HEADER_BYTES = 65536


def received(dicom: bytes, origin: int) -> tuple[int, bytes | None]:
    """The Received callback: every object passes here, so the usual one passes quickly."""
    if origin != Origin.DICOM_PROTOCOL or all(_has(dicom, tag) for tag in _TAGS):
        return Received.KEEP_AS_IS, None
    try:
        if _is_complete(dicom):
            return Received.KEEP_AS_IS, None
        return Received.MODIFY, _unusable()
    except Exception:
        log.exception("an object could not be looked through for its UIDs; Orthanc decides")
        return Received.KEEP_AS_IS, None


def _has(dicom: bytes, tag: bytes) -> bool:
    at = dicom.find(tag, 0, _HEADER_BYTES)
    return at >= 0 and dicom[at + 4 : at + 8] not in _EMPTY


def _is_complete(dicom: bytes) -> bool:
    """The same by a parser: for other encodings, and before anything is called missing."""
    from pydicom import dcmread

    found = dcmread(BytesIO(dicom), specific_tags=list(_KEYWORDS), stop_before_pixels=True)
    return all(str(found.get(keyword, "") or "").strip(" \0") for keyword in _KEYWORDS)


@cache
def _unusable() -> bytes:
    """A DICOM file (PS3.10 section 7.1) whose UIDs are none, although they are there."""
    meta = _element(0x0002, 0x0010, b"1.2.840.10008.1.2.1\0")  # Explicit VR Little Endian
    group = struct.pack("<HH2sHI", 0x0002, 0, b"UL", 4, len(meta))
    uids = b"".join(
        _element(group, element, b"missing\0")
        for group, element in ((0x0008, 0x0018), (0x0020, 0x000D), (0x0020, 0x000E))
    )
    secondary_capture = _element(0x0008, 0x0016, b"1.2.840.10008.5.1.4.1.1.7\0")
    return bytes(128) + b"DICM" + group + meta + secondary_capture + uids


def _element(group: int, element: int, value: bytes) -> bytes:
    return struct.pack("<HH2sH", group, element, b"UI", len(value)) + value
