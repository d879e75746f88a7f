"""Sending by C-STORE (PS3.4 annex B) over one association."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from types import TracebackType
from typing import Self

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset, read_preamble
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.dsutils import encode

from extensions.routing.association import Association, Proposal
from extensions.routing.destination_settings import DimseSettings
from extensions.routing.ledger import Instance
from extensions.routing.progress import Outcome
from extensions.routing.sending import outcome_of

MOST_CONTEXTS = 128  # PS3.8 section 9.3.2.2: ids are the odd numbers below 256
_PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


class DimseSender:
    """Sends over an association that it opens when it first needs it."""

    def __init__(self, settings: DimseSettings, *, timeout_s: float = 30.0) -> None:
        self._settings, self._timeout_s = settings, timeout_s
        self._association: Association | None = None
        self._proposed: dict[Proposal, None] = {}
        self._accepted: frozenset[Proposal] = frozenset()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def send(self, instance: Instance, file: bytes, going: Callable[[], None]) -> Outcome:
        """Send one file; raises `DestinationUnavailable` when there was no answer."""
        try:
            meta, data_set = _split(file)
            wanted = (UID(meta.MediaStorageSOPClassUID), UID(meta.TransferSyntaxUID))
            uid = str(meta.MediaStorageSOPInstanceUID)
        except (InvalidDicomError, AttributeError, ValueError, EOFError):
            return Outcome(instance.sop_instance_uid, False, True, "", "Its file is damaged.")
        self._negotiate(wanted)
        if wanted in self._accepted:
            return self._store(instance, wanted, uid, data_set, going)
        for plain in _PLAIN:
            if wanted[1] in _PLAIN and (wanted[0], plain) in self._accepted:
                converted = _converted(file, plain)
                if converted is None:
                    cause = "It cannot be converted to what the destination accepts."
                    return Outcome(instance.sop_instance_uid, False, True, "", cause)
                return self._store(instance, (wanted[0], plain), uid, converted, going)
        cause = f"The destination accepts no {wanted[0].name} in {wanted[1].name}."
        compressed = wanted[1].is_compressed
        return Outcome(
            instance.sop_instance_uid, False, True, "", cause, compressed, never_sent=True
        )

    def _store(
        self,
        instance: Instance,
        proposal: Proposal,
        uid: str,
        data_set: bytes,
        going: Callable[[], None],
    ) -> Outcome:
        assert self._association is not None
        going()
        answer = self._association.store(proposal, uid, data_set)
        outcome = outcome_of(instance.sop_instance_uid, int(answer.Status))
        if not outcome.delivered and answer.get("ErrorComment"):
            # Its own words may quote the object, but they stay in the tenant's ledger.
            return outcome_of(instance.sop_instance_uid, int(answer.Status), answer.ErrorComment)
        return outcome

    def _negotiate(self, wanted: Proposal) -> None:
        """Have an association for which `wanted` was at least proposed."""
        alive = self._association is not None and self._association.is_open
        refused = self._association is None and bool(self._proposed)  # all, by a living peer
        if wanted in self._proposed and (alive or refused):
            return
        self._close()
        proposals = [wanted, *((wanted[0], plain) for plain in _PLAIN)]
        if len(self._proposed) + len(proposals) > MOST_CONTEXTS:
            self._proposed.clear()
        self._proposed.update(dict.fromkeys(proposals))
        self._associate()

    def _associate(self) -> None:
        association = Association(self._settings, list(self._proposed), timeout_s=self._timeout_s)
        self._accepted = association.accepted
        if self._accepted:
            self._association = association
        else:  # it answered: it wants nothing of this
            association.release()

    def _close(self) -> None:
        association, self._association = self._association, None
        if association is not None and association.is_open:
            association.release()
        elif association is not None:
            association.close()


def _split(file: bytes) -> tuple[Dataset, bytes]:
    """The file meta information (PS3.10 section 7.1) and the data set as it is encoded."""
    stream = BytesIO(file)
    read_preamble(stream, False)
    meta = read_dataset(
        stream,
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=lambda tag, _vr, _length: tag.group != 2,
    )
    return meta, file[stream.tell() :]


def _converted(file: bytes, syntax: UID) -> bytes | None:
    """The data set in implicit or explicit VR; None: it cannot be."""
    try:
        return encode(dcmread(BytesIO(file)), syntax.is_implicit_VR, True)
    except (ValueError, AttributeError):
        return None
