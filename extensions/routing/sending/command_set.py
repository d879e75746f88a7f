"""The two command sets of a C-STORE (PS3.7 section 9.3.1), as they are encoded. No I/O.

pydicom does it too, in ten times the time, which small objects feel.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

_RESPONDED_TO, _STATUS, _ERROR_COMMENT = 0x0120, 0x0900, 0x0902


class Response(NamedTuple):
    """What a destination says of an object."""

    message_id: int
    status: int
    comment: str


def c_store_request(message_id: int, sop_class: str, sop_instance_uid: str) -> bytes:
    """The request (PS3.7 section 9.3.1.1), of medium priority."""
    elements = b"".join(
        struct.pack("<HHI", 0, element, len(value)) + value
        for element, value in (
            (0x0002, _ui(sop_class)),
            (0x0100, b"\x01\x00"),
            (0x0110, struct.pack("<H", message_id)),
            (0x0700, b"\x00\x00"),
            (0x0800, b"\x01\x00"),  # a data set follows
            (0x1000, _ui(sop_instance_uid)),
        )
    )
    return struct.pack("<HHII", 0, 0, 4, len(elements)) + elements


def c_store_response(command: bytes) -> Response:
    """The response (PS3.7 section 9.3.1.2); raises ValueError for what is none."""
    found: dict[int, bytes] = {}
    place = 0
    try:
        while place < len(command):
            group, element, length = struct.unpack_from("<HHI", command, place)
            if group:
                raise ValueError("no command set of a C-STORE")
            found[element] = command[place + 8 : place + 8 + length]
            place += 8 + length
        (message_id,) = struct.unpack("<H", found[_RESPONDED_TO])
        (status,) = struct.unpack("<H", found[_STATUS])
    except (struct.error, KeyError) as error:
        raise ValueError("no response to a C-STORE") from error
    comment = found.get(_ERROR_COMMENT, b"").decode("latin-1").strip("\0 ")
    return Response(message_id, status, comment)


def _ui(uid: str) -> bytes:
    value = uid.encode()
    return value + b"\0" * (len(value) % 2)
