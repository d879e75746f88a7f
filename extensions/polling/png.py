"""Reading a PNG (ISO/IEC 15948) into the pixels of a DICOM image: 8 and 16 bit, not interlaced.

What a Secondary Capture needs and no more; the standard library has the inflating, which is the
work of it.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST_PIXELS = 25_000_000
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_GREY, _COLOUR, _PALETTE, _GREY_ALPHA, _COLOUR_ALPHA = _CHANNELS


@dataclass(frozen=True)
class Picture:
    """Pixels by row, samples interleaved; 16-bit samples little-endian."""

    rows: int
    columns: int
    samples: int  # 1: grey, 3: RGB
    bits: int  # 8 or 16
    pixels: bytes


def read(file: bytes) -> Picture:
    """Decode it; raises `ValueError` with what is wrong and what to do."""
    header, palette, packed = _chunks(file)
    columns, rows, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", header)
    if interlace:
        raise ValueError("the PNG is interlaced; save it without interlacing")
    if not 0 < rows < 65536 or not 0 < columns < 65536 or rows * columns > MOST_PIXELS:
        raise ValueError(f"the PNG has {columns} x {rows} pixels; make it smaller")
    if colour not in _CHANNELS or (depth != 8 and (depth, colour) != (16, _GREY)):
        raise ValueError("the PNG must have 8 bits a channel, or be grey with 8 or 16")
    size = _CHANNELS[colour] * depth // 8
    raw = _inflated(packed, rows * (columns * size + 1))
    pixels = _unfiltered(raw, rows, columns * size, size)
    if colour == _PALETTE:
        pixels = _from_palette(pixels, palette)
    elif colour in (_GREY_ALPHA, _COLOUR_ALPHA):
        pixels = _opaque(pixels, size)
    if depth == 16:
        swapped = bytearray(len(pixels))
        swapped[0::2], swapped[1::2] = pixels[1::2], pixels[0::2]
        pixels = bytes(swapped)
    return Picture(rows, columns, 1 if colour in (_GREY, _GREY_ALPHA) else 3, depth, pixels)


def _chunks(file: bytes) -> tuple[bytes, bytes, bytes]:
    """IHDR, PLTE and all of IDAT; each checked, so that a file which is cut off is found."""
    if not file.startswith(SIGNATURE):
        raise ValueError("the file is no PNG; save it as PNG")
    header, palette, packed, at = b"", b"", bytearray(), len(SIGNATURE)
    while at + 12 <= len(file):
        length, kind = struct.unpack_from(">I4s", file, at)
        body = file[at + 8 : at + 8 + length]
        told = file[at + 8 + length : at + 12 + length]
        if len(told) < 4 or struct.unpack(">I", told)[0] != zlib.crc32(kind + body):
            break
        if kind == b"IHDR" and length == 13:
            header = body
        elif kind == b"PLTE":
            palette = body
        elif kind == b"IDAT":
            packed += body
        elif kind == b"IEND" and header:
            return header, palette, bytes(packed)
        at += 12 + length
    raise ValueError("the PNG is damaged or cut off; copy it again")


def _inflated(packed: bytes, size: int) -> bytes:
    try:
        raw = zlib.decompressobj().decompress(packed, size)
    except zlib.error:
        raw = b""
    if len(raw) != size:
        raise ValueError("the PNG is damaged; save it again")
    return raw


def _unfiltered(raw: bytes, rows: int, width: int, size: int) -> bytes:
    """Undo the filter of each row (section 9)."""
    pixels = bytearray()
    before = bytearray(width)
    for row in range(rows):
        start = row * (width + 1)
        line = bytearray(raw[start + 1 : start + 1 + width])
        _unfilter(raw[start], line, before, size)
        pixels += line
        before = line
    return bytes(pixels)


def _unfilter(kind: int, line: bytearray, above: bytearray, size: int) -> None:
    match kind:
        case 0:
            return
        case 1:
            for i in range(size, len(line)):
                line[i] = (line[i] + line[i - size]) & 255
        case 2:
            line[:] = bytes((a + b) & 255 for a, b in zip(line, above, strict=True))
        case 3:
            for i, value in enumerate(line):
                left = line[i - size] if i >= size else 0
                line[i] = (value + (left + above[i]) // 2) & 255
        case 4:
            for i, value in enumerate(line):
                left, corner = (line[i - size], above[i - size]) if i >= size else (0, 0)
                line[i] = (value + _paeth(left, above[i], corner)) & 255
        case _:
            raise ValueError("the PNG is damaged; save it again")


def _paeth(left: int, above: int, corner: int) -> int:
    guess = left + above - corner
    to_left, to_above, to_corner = abs(guess - left), abs(guess - above), abs(guess - corner)
    if to_left <= to_above and to_left <= to_corner:
        return left
    return above if to_above <= to_corner else corner


def _from_palette(pixels: bytes, palette: bytes) -> bytes:
    if max(pixels) * 3 + 2 >= len(palette):
        raise ValueError("the PNG's palette is too short; save it again")
    colours = [palette[i : i + 3] for i in range(0, len(palette), 3)]
    return b"".join([colours[value] for value in pixels])


def _opaque(pixels: bytes, size: int) -> bytes:
    if pixels[size - 1 :: size].strip(b"\xff"):
        raise ValueError("the PNG is transparent in places; save it without transparency")
    kept = bytearray(len(pixels) // size * (size - 1))
    for channel in range(size - 1):
        kept[channel :: size - 1] = pixels[channel::size]
    return bytes(kept)
