"""Sending by C-STORE (PS3.4 annex B) over one association."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.dsutils import split_dataset
from pynetdicom.presentation import PresentationContext, build_context

from extensions.routing.destination_settings import DimseSettings
from extensions.routing.ledger import Instance
from extensions.routing.progress import Outcome
from extensions.routing.sending import outcome_of
from gateway.errors import DestinationUnavailable

# pynetdicom's way to send a file's data set as it is, without decoding it.
_config.STORE_SEND_CHUNKED_DATASET = True
# pynetdicom looks up every dataset that it logs; we log none.
_config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False

MOST_CONTEXTS = 128  # PS3.8 section 9.3.2.2: ids are the odd numbers below 256
_PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)

type Proposal = tuple[UID, UID]
"""A SOP class and the one transfer syntax of its context, so that we know which are accepted."""


class DimseSender:
    """Sends over an association that it opens when it first needs it."""

    def __init__(self, settings: DimseSettings, *, timeout_s: float = 30.0) -> None:
        self._settings = settings
        self._ae = AE(ae_title=settings.calling_aet)
        self._ae.connection_timeout = min(10.0, timeout_s)
        self._ae.acse_timeout = timeout_s
        self._ae.dimse_timeout = timeout_s
        self._ae.network_timeout = timeout_s
        self._association: Association | None = None
        self._proposed: dict[Proposal, None] = {}
        self._accepted: set[Proposal] = set()

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="argonath-send-")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()
        self._folder.cleanup()

    def send(self, instance: Instance, file: bytes, going: Callable[[], None]) -> Outcome:
        """Send one file; raises `DestinationUnavailable` when there was no answer."""
        path = Path(self._folder.name, "instance.dcm")
        path.write_bytes(file)
        try:
            meta, _ = split_dataset(path)
            wanted = (UID(meta.MediaStorageSOPClassUID), UID(meta.TransferSyntaxUID))
        except (InvalidDicomError, AttributeError, ValueError, EOFError):
            return Outcome(instance.sop_instance_uid, False, True, "", "Its file is damaged.")
        self._negotiate(wanted)
        if wanted in self._accepted:
            return self._store(instance, path, going)
        if wanted[1] in _PLAIN and any((wanted[0], plain) in self._accepted for plain in _PLAIN):
            # pynetdicom converts between these two
            return self._store(instance, dcmread(path), going)
        cause = f"The destination accepts no {wanted[0].name} in {wanted[1].name}."
        return Outcome(instance.sop_instance_uid, False, True, "", cause)

    def _store(
        self, instance: Instance, what: Path | Dataset, going: Callable[[], None]
    ) -> Outcome:
        assert self._association is not None
        going()
        try:
            answer = self._association.send_c_store(cast("Dataset", what))
        except RuntimeError as error:  # the association ended between two requests
            self._close()
            raise DestinationUnavailable("It ended the association.") from error
        except (ValueError, AttributeError):  # pynetdicom could not convert it
            cause = "It cannot be converted to what the destination accepts."
            return Outcome(instance.sop_instance_uid, False, True, "", cause)
        if "Status" not in answer:
            self._close()
            raise DestinationUnavailable("It did not answer a C-STORE.")
        outcome = outcome_of(instance.sop_instance_uid, int(answer.Status))
        if not outcome.delivered and answer.get("ErrorComment"):
            # Its own words may quote the object, but they stay in the tenant's ledger.
            return outcome_of(instance.sop_instance_uid, int(answer.Status), answer.ErrorComment)
        return outcome

    def _negotiate(self, wanted: Proposal) -> None:
        """Have an association for which `wanted` was at least proposed."""
        alive = self._association is not None and self._association.is_established
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
        settings = self._settings
        contexts = [build_context(sop_class, syntax) for sop_class, syntax in self._proposed]
        line = Line()
        try:
            association = self._ae.associate(
                settings.host,
                settings.port,
                contexts=contexts,
                ae_title=settings.called_aet,
                max_pdu=131072,
                evt_handlers=[(evt.EVT_CONN_OPEN, line.opened)],
            )
        except OSError as error:
            raise DestinationUnavailable(f"{settings.host} cannot be resolved.") from error
        self._accepted = {_proposal(context) for context in association.accepted_contexts}
        if association.is_established:
            self._association = association
        elif association.rejected_contexts and not self._accepted:
            self._association = None  # it answered: it wants nothing of this
        else:
            raise DestinationUnavailable(why_not(association, settings, line))

    def _close(self) -> None:
        association, self._association = self._association, None
        if association is not None and association.is_established:
            association.release()


class Line:
    """The TCP connection of an association; `is_open` from when the peer has accepted it."""

    is_open = False

    def opened(self, event: evt.Event) -> None:
        """Switch Nagle's algorithm off: with it each C-STORE waits 40 ms for a delayed ACK."""
        self.is_open = True
        link = event.assoc.dul.socket
        if link is not None and link.socket is not None:
            link.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def why_not(association: Association, settings: DimseSettings, line: Line) -> str:
    """Why there is no association, in one sentence."""
    if association.is_rejected:
        answer = association.acceptor.primitive
        reason = getattr(answer, "reason_str", "") if answer else ""
        return f"{settings.address} rejects the association: {reason or 'no reason given'}."
    if association.is_aborted and line.is_open:
        return f"{settings.address} aborted the association."
    return f"{settings.address} does not answer."


def _proposal(context: PresentationContext) -> Proposal:
    assert context.abstract_syntax is not None
    return context.abstract_syntax, context.transfer_syntax[0]
