"""The two PDUs of the DICOM upper layer (PS3.8 section 9.3) that the TLS port reads or writes."""

from __future__ import annotations

from dataclasses import dataclass

HEAD_BYTES = 74  # of an A-ASSOCIATE-RQ or -AC: all that comes before its variable items
LONGEST_BYTES = 1 << 20  # 128 presentation contexts with every transfer syntax are a tenth of it
_ASSOCIATE_RQ, _ASSOCIATE_AC, _ASSOCIATE_RJ = 1, 2, 3
_CALLED, _CALLING = slice(10, 26), slice(26, 42)

CALLING_NOT_RECOGNIZED = bytes([_ASSOCIATE_RJ, 0, 0, 0, 0, 4, 0, 1, 1, 3])
CALLED_NOT_RECOGNIZED = bytes([_ASSOCIATE_RJ, 0, 0, 0, 0, 4, 0, 1, 1, 7])
TRY_AGAIN = bytes([_ASSOCIATE_RJ, 0, 0, 0, 0, 4, 0, 2, 3, 1])  # transient, temporary congestion


class NotAnAssociation(ValueError):
    """What came first is no A-ASSOCIATE-RQ."""


@dataclass(frozen=True)
class Request:
    """The AE titles of an A-ASSOCIATE-RQ, without the spaces that pad them."""

    called: str
    calling: str

    @classmethod
    def from_head(cls, head: bytes) -> Request:
        """Read the first `HEAD_BYTES`; raises `NotAnAssociation`."""
        length = int.from_bytes(head[2:6])
        if len(head) != HEAD_BYTES or head[0] != _ASSOCIATE_RQ:
            raise NotAnAssociation
        if not HEAD_BYTES - 6 <= length <= LONGEST_BYTES:
            raise NotAnAssociation
        try:
            return cls(
                head[_CALLED].decode("ascii").strip(), head[_CALLING].decode("ascii").strip()
            )
        except UnicodeDecodeError:
            raise NotAnAssociation from None


def readdressed(head: bytes, called: str) -> bytes:
    """The same A-ASSOCIATE-RQ or -AC with another called AE title (at most 16 characters)."""
    return head[: _CALLED.start] + called.ljust(16).encode("ascii") + head[_CALLED.stop :]


def is_acceptance(head: bytes) -> bool:
    """Whether these bytes begin an A-ASSOCIATE-AC."""
    return len(head) >= HEAD_BYTES and head[0] == _ASSOCIATE_AC
