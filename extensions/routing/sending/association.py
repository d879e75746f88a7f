"""An association as storage SCU (PS3.8 section 9): one C-STORE after the other, without pauses.

pynetdicom encodes and reads the PDUs of the negotiation. Its own associations are served by a
thread that polls, which at small objects takes longer than all the rest.
"""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import batched

from pydicom.uid import UID
from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION
from pynetdicom._globals import APPLICATION_CONTEXT_NAME
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
)
from pynetdicom.presentation import build_context

from extensions.routing.destination_settings import DimseSettings
from extensions.routing.sending.command_set import Response, c_store_request, c_store_response
from gateway.errors import DestinationUnavailable

MAX_PDU = 131072
MOST_PARTS_AT_ONCE = 64
RECEIVED_AT_ONCE = 4096  # bytes, more than an answer has
RELEASE_S = 5.0
# Types of PDU (PS3.8 section 9.3.1)
_ACCEPTED, _REJECTED, _DATA, _RELEASE_ASKED = 0x02, 0x03, 0x04, 0x05
_ABORTED = "aborted the association"
_RELEASE_ASK = bytes.fromhex("05000000000400000000")
_RELEASE_ANSWER = bytes.fromhex("06000000000400000000")

type Proposal = tuple[UID, UID]
"""A SOP class and the one transfer syntax of its context, so that we know which are accepted."""


class Association:
    """With a destination; raises `DestinationUnavailable` where there is none, or no answer."""

    def __init__(
        self, settings: DimseSettings, proposals: Sequence[Proposal], *, timeout_s: float
    ) -> None:
        self._address = settings.address
        self._message_id = 0
        self._received = bytearray()
        self._room = MAX_PDU - 6
        self._contexts: dict[Proposal, int] = {}
        self._socket = _connect(settings, min(10.0, timeout_s))
        self._socket.settimeout(timeout_s)
        try:
            self._socket.sendall(_request(settings, proposals))
            kind, answer = self._receive()
        except (OSError, ValueError) as error:
            self.close()
            told = "does not answer" if isinstance(error, TimeoutError) else _ABORTED
            raise DestinationUnavailable(f"{self._address} {told}.") from error
        if kind != _ACCEPTED:
            self.close()
            raise DestinationUnavailable(_why_not(self._address, kind, answer))
        self._read_acceptance(answer, proposals)

    @property
    def accepted(self) -> frozenset[Proposal]:
        """What the destination takes; empty: it answered, and wants nothing of this."""
        return frozenset(self._contexts)

    @property
    def is_open(self) -> bool:
        """Whether the destination has not ended it meanwhile."""
        if self._socket.fileno() < 0 or self._received:
            return False
        said, _, _ = select.select([self._socket], [], [], 0)
        return not said

    def store(
        self,
        proposal: Proposal,
        sop_instance_uid: str,
        data_set: bytes | memoryview,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Response:
        """What the destination answers to a data set that is encoded already.

        Calls `meanwhile` when all is sent, before it waits for the answer.
        """
        self._message_id = self._message_id % 0xFFFF + 1
        context = self._contexts[proposal]
        command = c_store_request(self._message_id, proposal[0], sop_instance_uid)
        try:
            pdus = _pdus(context, command, memoryview(data_set), self._room)
            for parts in batched(pdus, MOST_PARTS_AT_ONCE, strict=False):
                self._send(list(parts))
            meanwhile()
            return self._answer()
        except TimeoutError as error:
            self.close()
            raise DestinationUnavailable("It did not answer a C-STORE.") from error
        except (OSError, ValueError) as error:
            self.close()
            raise DestinationUnavailable("It ended the association.") from error

    def release(self) -> None:
        """End it politely, if the destination answers within some seconds."""
        with suppress(OSError, ValueError):
            self._socket.settimeout(RELEASE_S)
            self._socket.sendall(_RELEASE_ASK)
            self._receive()
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _send(self, parts: list[bytes | memoryview]) -> None:
        """All of them, from where they lie: to copy a large object takes its time."""
        while parts:
            sent = self._socket.sendmsg(parts)
            while parts and sent >= len(parts[0]):
                sent -= len(parts.pop(0))
            if parts:
                parts[0] = memoryview(parts[0])[sent:]

    def _read_acceptance(self, answer: bytes, proposals: Sequence[Proposal]) -> None:
        acceptance = A_ASSOCIATE_AC()
        acceptance.decode(answer)
        numbered = {2 * number + 1: proposal for number, proposal in enumerate(proposals)}
        self._contexts = {
            numbered[item.context_id]: item.context_id
            for item in acceptance.presentation_context
            if item.result == 0 and item.context_id in numbered
        }
        information = acceptance.user_information
        most = (information.maximum_length if information else 0) or MAX_PDU  # 0: any
        self._room = max(min(most, MAX_PDU) - 6, 1)

    def _answer(self) -> Response:
        """The command set that comes next; raises ValueError for anything else."""
        command = bytearray()
        while True:
            kind, pdu = self._receive()
            if kind == _RELEASE_ASKED:
                self._socket.sendall(_RELEASE_ANSWER)
            if kind != _DATA:
                raise ValueError(f"PDU {kind}")
            place = 6
            while place < len(pdu):
                length, _, header = struct.unpack_from(">IBB", pdu, place)
                command += pdu[place + 6 : place + 4 + length]
                place += 4 + length
                if header & 2:  # the last fragment
                    return self._read(bytes(command))

    def _read(self, command: bytes) -> Response:
        response = c_store_response(command)
        if response.message_id != self._message_id:
            raise ValueError("no answer to this message")
        return response

    def _receive(self) -> tuple[int, bytes]:
        """The next PDU, with its head."""
        head = self._exactly(6)
        length = int.from_bytes(head[2:])
        if length > MAX_PDU:
            raise ValueError(f"a PDU of {length} bytes")
        return head[0], head + self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        while len(self._received) < count:
            part = self._socket.recv(RECEIVED_AT_ONCE)
            if not part:
                raise ConnectionResetError
            self._received += part
        found = bytes(self._received[:count])
        del self._received[:count]
        return found


def _connect(settings: DimseSettings, timeout_s: float) -> socket.socket:
    try:
        found = socket.create_connection((settings.host, settings.port), timeout_s)
    except socket.gaierror as error:
        raise DestinationUnavailable(f"{settings.host} cannot be resolved.") from error
    except OSError as error:
        raise DestinationUnavailable(f"{settings.address} does not answer.") from error
    # With Nagle's algorithm each C-STORE waits 40 ms for a delayed ACK.
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return found


def _request(settings: DimseSettings, proposals: Sequence[Proposal]) -> bytes:
    request = A_ASSOCIATE()
    request.application_context_name = UID(APPLICATION_CONTEXT_NAME)
    request.calling_ae_title = settings.calling_aet
    request.called_ae_title = settings.called_aet
    contexts = [build_context(sop_class, syntax) for sop_class, syntax in proposals]
    for number, context in enumerate(contexts):
        context.context_id = 2 * number + 1
    request.presentation_context_definition_list = contexts
    length, maker = MaximumLengthNotification(), ImplementationClassUIDNotification()
    version = ImplementationVersionNameNotification()
    length.maximum_length_received = MAX_PDU
    maker.implementation_class_uid = UID(PYNETDICOM_IMPLEMENTATION_UID)
    version.implementation_version_name = PYNETDICOM_IMPLEMENTATION_VERSION
    request.user_information = [length, maker, version]
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(request)
    return bytes(pdu.encode())


def _why_not(address: str, kind: int, answer: bytes) -> str:
    if kind != _REJECTED:
        return f"{address} {_ABORTED}."
    rejection = A_ASSOCIATE_RJ()
    rejection.decode(answer)
    try:
        reason = rejection.reason_str
    except (KeyError, ValueError):
        reason = ""
    return f"{address} rejects the association: {reason or 'no reason given'}."


def _pdus(
    context: int, command: bytes, data_set: memoryview, room: int
) -> Iterator[bytes | memoryview]:
    """P-DATA-TF PDUs (PS3.8 section 9.3.5 and annex E) of a message, each in two parts."""
    for is_command, message in ((1, memoryview(command)), (0, data_set)):
        for start in range(0, len(message), room):
            part = message[start : start + room]
            last = 2 * (start + room >= len(message))
            yield struct.pack(
                ">BxIIBB", _DATA, len(part) + 6, len(part) + 2, context, is_command | last
            )
            yield part
