"""What the kinds of sender have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from extensions.routing.destination_settings import (
    DestinationSettings,
    DicomwebSettings,
    DimseSettings,
    FolderSettings,
)
from extensions.routing.ledger import Instance
from extensions.routing.progress import Outcome

SUCCESS = 0x0000
DUPLICATE = 0x0111  # PS3.7 annex C: it is there already, e.g. because our worker was killed


def _nothing() -> None:
    pass


class Cues(NamedTuple):
    """What a sender calls, and may raise: `going`, when it has a connection and a file goes out.

    `meanwhile` when that is out and there is an answer to wait for, if the sender can.
    """

    going: Callable[[], None] = _nothing
    meanwhile: Callable[[], None] = _nothing


class Sender(Protocol):
    """Sends one instance after the other over a connection that it keeps."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def send(self, instance: Instance, file: bytes, cues: Cues) -> Outcome:
        """Send a DICOM file; raises `DestinationUnavailable` when there was no answer."""


def open_sender(settings: DestinationSettings, exports: Path) -> Sender:
    """The sender of a kind of destination; folders lie below `exports`."""
    if isinstance(settings, DimseSettings):
        from extensions.routing.sending.sender_dimse import DimseSender

        return DimseSender(settings)
    if isinstance(settings, DicomwebSettings):
        from extensions.routing.sending.sender_dicomweb import DicomwebSender

        return DicomwebSender(settings)
    if isinstance(settings, FolderSettings):
        from extensions.routing.sending.sender_folder import FolderSender

        return FolderSender(settings, exports)
    from extensions.routing.sending.sender_s3 import S3Sender

    return S3Sender(settings)


def outcome_of(uid: str, status: int, cause: str = "") -> Outcome:
    """What a Storage status means (PS3.4 section B.2.3, PS3.7 annex C)."""
    shown = f"0x{status:04X}"
    if status in {SUCCESS, DUPLICATE} or status >> 12 == 0xB:  # 0xBxxx: stored, with a warning
        return Outcome(uid, True, False, shown, cause)
    if status >> 8 == 0xA7:
        return Outcome(uid, False, False, shown, cause or "The destination is out of resources.")
    return Outcome(uid, False, True, shown, cause or _CAUSES.get(status, _other_cause(status)))


_CAUSES = {
    0x0110: "The destination could not process it.",
    0x0122: "The destination does not take objects of this SOP class.",
    0x0124: "The destination does not authorise us to store.",
    0x0117: "The destination finds its SOP Instance UID invalid.",
}


def _other_cause(status: int) -> str:
    match status >> 12, status >> 8:
        case _, 0xA9:
            return "The data set does not match its SOP class."
        case 0xC, _:
            return "The destination cannot understand it."
        case _:
            return "The destination refused it."
