"""The TLS port: handshake, admission of the association, then bytes both ways."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from gateway.certificates import Certificate
from gateway.dicom_tls import pdu, relay
from gateway.dicom_tls.associations import Association, Associations
from gateway.errors import GatewayError
from gateway.tenancy import Directory

log = logging.getLogger(__name__)

type Refused = Callable[[Association, str], None]


@dataclass(frozen=True)
class Limits:
    """What somebody can cost: seconds, and connections.

    `unknown_per_address` counts those of whom it is not known yet who they are.
    """

    patience_s: float = 10.0
    silence_s: float = 300.0  # Orthanc hangs up before (DicomScpTimeout)
    last_word_s: float = 5.0
    unknown_per_address: int = 16
    connections: int = 256


class TLSPort:
    """Accepts connections, a thread for each, and passes those on that the directory admits."""

    def __init__(
        self,
        context: ssl.SSLContext,
        node: tuple[str, int],
        directory: Callable[[], Directory],
        associations: Associations,
        refused: Refused,
        limits: Limits | None = None,
    ) -> None:
        self._context = context
        self._node = node
        self._directory = directory
        self._associations = associations
        self._refused = refused
        self._limits = limits or Limits()
        self._lock = threading.Lock()
        self._open = 0
        self._unknown: Counter[str] = Counter()

    def serve(self, listener: socket.socket) -> None:
        """Accept until the listener is shut down."""
        while True:
            try:
                connection, peer = listener.accept()
            except ConnectionError:  # gone before it was accepted
                continue
            address = str(peer[0]).removeprefix("::ffff:")
            if not self._enters(address):
                connection.close()
                continue
            threading.Thread(
                target=self._connected, args=(connection, address), daemon=True
            ).start()

    def _enters(self, address: str) -> bool:
        with self._lock:
            if (
                self._open >= self._limits.connections
                or self._unknown[address] >= self._limits.unknown_per_address
            ):
                return False
            self._open += 1
            self._unknown[address] += 1
            return True

    def _is_known(self, address: str) -> None:
        with self._lock:
            self._unknown[address] -= 1
            if not self._unknown[address]:
                del self._unknown[address]

    def _connected(self, connection: socket.socket, address: str) -> None:
        try:
            with contextlib.ExitStack() as stack:
                stack.callback(connection.close)
                asked = self._asked(connection, address, stack)
                if asked is not None:
                    self._decided(*asked)
        except OSError as error:
            log.info("a connection ended: %s", type(error).__name__)
        except Exception:
            log.exception("a connection failed")
        finally:
            with self._lock:
                self._open -= 1

    def _asked(
        self, connection: socket.socket, address: str, stack: contextlib.ExitStack
    ) -> tuple[ssl.SSLSocket, Association, bytes] | None:
        """The connection with TLS, who calls whom, and the bytes that say so; None: no such."""
        stranger = Association("", "", address)
        try:
            connection.settimeout(self._limits.patience_s)  # of the handshake as a whole
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client = self._context.wrap_socket(connection, server_side=True)
            stack.callback(relay.hang_up, client, within_s=self._limits.last_word_s)
            client.setblocking(False)
            head = relay.receive(client, pdu.HEAD_BYTES, within_s=self._limits.patience_s)
            asked = pdu.Request.from_head(head)
        except pdu.NotAnAssociation:
            self._refused(stranger, "no A-ASSOCIATE-RQ")
        except (EOFError, ssl.SSLEOFError):
            pass  # a probe of the port, or somebody who thought better of it
        except ssl.SSLError as error:
            self._refused(stranger, f"TLS: {error.reason}")
        else:
            certificate = Certificate.from_der(client.getpeercert(binary_form=True) or b"")
            return client, Association(asked.called, asked.calling, address, certificate), head
        finally:
            self._is_known(address)
        return None

    def _decided(self, client: ssl.SSLSocket, association: Association, head: bytes) -> None:
        answer, why = self._verdict(association)
        if answer:
            relay.send(client, answer, within_s=self._limits.last_word_s)
            self._refused(association, why)
            return
        with self._associations.announced(association) as handle:
            try:
                node = socket.create_connection(self._node, self._limits.patience_s)
            except OSError as error:
                log.warning("the node does not answer: %s", type(error).__name__)
                relay.send(client, pdu.TRY_AGAIN, within_s=self._limits.last_word_s)
                return
            with node:
                node.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                node.setblocking(False)
                self._joined(client, node, association.called, pdu.readdressed(head, handle))

    def _verdict(self, asked: Association) -> tuple[bytes, str]:
        """The refusal and its reason; both empty: it is admitted."""
        directory = self._directory()
        if asked.called not in directory.called:
            return pdu.CALLED_NOT_RECOGNIZED, "nobody has this called AE title"
        try:
            directory.tenant_of_store(asked.called, asked.calling, asked.address, asked.certificate)
        except GatewayError as error:
            return pdu.CALLING_NOT_RECOGNIZED, error.code
        return b"", ""

    def _joined(self, client: ssl.SSLSocket, node: socket.socket, called: str, head: bytes) -> None:
        limits = self._limits
        relay.send(node, head, within_s=limits.patience_s)
        relay.both_ways(
            client,
            node,
            # The acceptance names the AE title that was called (PS3.8 section 9.3.3), no handle.
            lambda answer: pdu.readdressed(answer, called) if pdu.is_acceptance(answer) else answer,
            silence_s=limits.silence_s,
            last_word_s=limits.last_word_s,
        )
