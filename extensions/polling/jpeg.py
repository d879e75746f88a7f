"""What a JPEG's markers (ITU-T T.81 annex B) say of it; its data stay as they are."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from extensions.polling.png import MOST_PIXELS

SIGNATURE = b"\xff\xd8\xff"
_BASELINE = 0xC0
_OTHER_FRAMES = frozenset(range(0xC1, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN, _END, _EXIF, _ADOBE = 0xDA, 0xD9, 0xE1, 0xEE
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})


@dataclass(frozen=True)
class Frame:
    """The size, and how its colours are written (PS3.3 C.7.6.3.1.2)."""

    rows: int
    columns: int
    samples: int
    photometric: str
    size: int = 0  # bytes of this image: cameras append others


def read(file: bytes) -> Frame:
    """Check that it is baseline; raises `ValueError` with what is wrong and what to do."""
    if not file.startswith(SIGNATURE):
        raise ValueError("the file is no JPEG; save it as JPEG")
    frame: bytes | None = None
    adobe: int | None = None
    segments, scan = _segments(file)
    for marker, body in segments:
        if marker == _BASELINE:
            frame = body
        elif marker in _OTHER_FRAMES:
            raise ValueError("the JPEG is not baseline (progressive, perhaps); save it as baseline")
        elif marker == _ADOBE and body.startswith(b"Adobe") and len(body) >= 12:
            adobe = body[11]
        elif marker == _EXIF and _is_turned(body):
            raise ValueError("the JPEG is to be shown turned (EXIF orientation); save it upright")
    if frame is None:
        raise ValueError("the JPEG has no image; save it again")
    end = file.find(b"\xff\xd9", scan)
    if end < 0:
        raise ValueError("the JPEG is cut off; copy it again")
    return replace(_frame(frame, adobe), size=end + 2)


def _segments(file: bytes) -> tuple[list[tuple[int, bytes]], int]:
    """Marker and content of each segment before the first scan, and where that begins."""
    found: list[tuple[int, bytes]] = []
    at = 2
    while at + 4 <= len(file):
        if file[at] != 0xFF:
            break
        marker = file[at + 1]
        if marker == 0xFF:  # fill
            at += 1
        elif marker in _ALONE:
            at += 2
        elif marker in (_SCAN, _END):
            return found, at
        else:
            length = struct.unpack_from(">H", file, at + 2)[0]
            found.append((marker, file[at + 4 : at + 2 + length]))
            at += 2 + length
    raise ValueError("the JPEG is damaged; save it again")


def _frame(body: bytes, adobe: int | None) -> Frame:
    if len(body) < 6 or len(body) < 6 + 3 * body[5]:
        raise ValueError("the JPEG is damaged; save it again")
    bits, rows, columns, samples = struct.unpack_from(">BHHB", body)
    if bits != 8 or samples not in (1, 3):
        raise ValueError("the JPEG must be grey or have three colours of 8 bits; save it as RGB")
    if not rows or not columns or rows * columns > MOST_PIXELS:
        raise ValueError(f"the JPEG has {columns} x {rows} pixels; make it smaller")
    if samples == 1:
        return Frame(rows, columns, 1, "MONOCHROME2")
    names, sampling = body[6:15:3], body[7:15:3]
    if adobe == 0 or (adobe is None and names == b"RGB"):
        return Frame(rows, columns, 3, "RGB")
    whole = len(set(sampling)) == 1
    return Frame(rows, columns, 3, "YBR_FULL" if whole else "YBR_FULL_422")


def _is_turned(exif: bytes) -> bool:
    """Whether EXIF's orientation (tag 0x0112) is other than upright."""
    tiff = exif[6:]
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if not exif.startswith(b"Exif\0\0") or order is None:
        return False
    try:
        start = struct.unpack_from(order + "I", tiff, 4)[0]
        for number in range(struct.unpack_from(order + "H", tiff, start)[0]):
            tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, start + 2 + 12 * number)
            if tag == 0x0112:
                return value not in (0, 1)
    except struct.error:
        pass
    return False
