"""Sending by C-STORE (PS3.4 annex B) over one association."""

from __future__ import annotations

from io import BytesIO
from types import TracebackType
from typing import Self

from pydicom import dcmread
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.dsutils import encode

from extensions.routing.destination_settings import DimseSettings
from extensions.routing.ledger import Instance
from extensions.routing.progress import Outcome
from extensions.routing.sending import file_meta
from extensions.routing.sending.association import Association, Proposal
from extensions.routing.sending.sender import Cues, outcome_of

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

    def send(self, instance: Instance, file: bytes, cues: Cues) -> Outcome:
        """Send one file; raises `DestinationUnavailable` when there was no answer."""
        try:
            sop_class, uid, syntax, data_set = file_meta.split(file)
        except ValueError:
            return Outcome(instance.sop_instance_uid, False, True, "", "Its file is damaged.")
        self._negotiate((sop_class, syntax))
        if (sop_class, syntax) in self._accepted:
            return self._store(instance, (sop_class, syntax), uid, data_set, cues)
        for plain in _PLAIN:
            if syntax in _PLAIN and (sop_class, plain) in self._accepted:
                converted = _converted(file, plain)
                if converted is None:
                    cause = "It cannot be converted to what the destination accepts."
                    return Outcome(instance.sop_instance_uid, False, True, "", cause)
                return self._store(instance, (sop_class, plain), uid, converted, cues)
        cause = f"The destination accepts no {sop_class.name} in {syntax.name}."
        compressed = syntax.is_compressed
        return Outcome(
            instance.sop_instance_uid, False, True, "", cause, compressed, never_sent=True
        )

    def _store(
        self,
        instance: Instance,
        proposal: Proposal,
        uid: str,
        data_set: bytes | memoryview,
        cues: Cues,
    ) -> Outcome:
        assert self._association is not None
        cues.going()
        answer = self._association.store(proposal, uid, data_set, cues.meanwhile)
        outcome = outcome_of(instance.sop_instance_uid, answer.status)
        if not outcome.delivered and answer.comment:
            # Its own words may quote the object, but they stay in the tenant's ledger.
            return outcome_of(instance.sop_instance_uid, answer.status, answer.comment)
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


def _converted(file: bytes, syntax: UID) -> bytes | None:
    """The data set in implicit or explicit VR; None: it cannot be."""
    try:
        return encode(dcmread(BytesIO(file)), syntax.is_implicit_VR, True)
    except (ValueError, AttributeError):
        return None
