"""The TLS port between a client and a node that says back what it hears."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from gateway.certificates import Certificate
from gateway.dicom_tls import pdu
from gateway.dicom_tls.__main__ import context_of
from gateway.dicom_tls.associations import Association, Associations
from gateway.dicom_tls.port import Limits, TLSPort
from gateway.errors import UnknownAETitle
from gateway.settings import Settings
from gateway.tenancy import Directory
from tests.certificates import Authority, Pair

REQUEST = bytes([1, 0, 0, 0, 0, 68, 0, 1, 0, 0]) + b"NORTH".ljust(16) + b"CT1".ljust(16) + bytes(32)
ACCEPTANCE = bytes([2]) + REQUEST[1:]
LIMITS = Limits(patience_s=60, silence_s=60, last_word_s=60, unknown_per_address=3, connections=6)


@dataclass
class World:
    """A TLS port on a real socket, and the node behind it, whose answers `node` gives."""

    ca: Path
    ct1: Pair
    port: int
    associations: Associations
    listener: socket.socket
    refused: list[tuple[Association, str]] = field(default_factory=list)
    handles: list[str] = field(default_factory=list)

    def client(self, pair: Pair | None = None) -> ssl.SSLSocket:
        pair = pair or self.ct1
        context = ssl.create_default_context(cafile=self.ca)
        context.load_cert_chain(pair.certificate, pair.key)
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        return context.wrap_socket(connection, server_hostname="localhost")

    def node(self) -> None:
        """Accept associations as Orthanc does, then say back everything."""
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(ConnectionResetError):
            head = received(connection, pdu.HEAD_BYTES)
            self.handles.append(pdu.Request.from_head(head).called)
            connection.sendall(pdu.readdressed(ACCEPTANCE, self.handles[-1]))
            while data := connection.recv(1 << 16):
                connection.sendall(data)


def received(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (more := connection.recv(count - len(data))):
        data += more
    return data


@pytest.fixture
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    """With `LIMITS`, or those that a test is parametrized by."""
    authority = Authority(tmp_path, "ca")
    server, ct1 = authority.sign("gateway"), authority.sign("ct1")
    associations = Associations(tmp_path)
    associations.clear()
    context = context_of(
        Settings(
            dicom_tls_ca=str(authority.ca),
            dicom_tls_cert=str(server.certificate),
            dicom_tls_key=str(server.key),
        )
    )
    directory = Directory(
        called={"NORTH": "north"},
        certificates={("north", "CT1"): frozenset({f"sha256:{ct1.fingerprint}"})},
    )
    node, listener = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    made = World(authority.ca, ct1, listener.getsockname()[1], associations, node)
    port = TLSPort(
        context,
        node.getsockname(),
        lambda: directory,
        associations,
        lambda association, why: made.refused.append((association, why)),
        getattr(request, "param", LIMITS),
    )
    threads = [
        threading.Thread(target=made.node),
        threading.Thread(target=served, args=(port, listener)),
    ]
    for thread in threads:
        thread.start()
    yield made
    stop(node)
    stop(listener)
    for thread in threads:
        thread.join(5)


def stop(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def wait_until(holds: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def served(port: TLSPort, listener: socket.socket) -> None:
    try:
        port.serve(listener)
    except OSError:
        return  # the end of the test


def test_the_node_hears_a_handle_and_the_client_the_ae_title_that_it_called(world: World) -> None:
    with world.client() as client:
        client.sendall(REQUEST)
        assert received(client, pdu.HEAD_BYTES) == ACCEPTANCE
        (handle,) = world.handles
        shown = Certificate(world.ct1.fingerprint, "CN=ct1")
        expected = Association("NORTH", "CT1", "127.0.0.1", shown)
        assert world.associations.of(handle, "CT1") == expected
    open_now = world.ca.parent / "run/associations"
    wait_until(lambda: all(file.suffix == ".ended" for file in open_now.iterdir()))
    with pytest.raises(UnknownAETitle):
        world.associations.of(handle, "CT1")


def test_every_byte_arrives_in_order_although_one_side_is_slow(world: World) -> None:
    sent = b"".join(number.to_bytes(4) for number in range(1_000_000))
    with world.client() as client:
        client.sendall(REQUEST)
        received(client, pdu.HEAD_BYTES)
        for start in range(0, len(sent), 1 << 19):
            part = sent[start : start + (1 << 19)]
            client.sendall(part)
            time.sleep(0.05)
            assert received(client, len(part)) == part


def test_of_one_address_so_many_may_say_nothing_yet_and_who_leaves_makes_room(
    world: World,
) -> None:
    slow = [world.client() for _ in range(LIMITS.unknown_per_address)]
    with pytest.raises(OSError, match=r"EOF|reset|closed"):
        world.client()
    slow.pop().close()
    wait_until(lambda: is_accepted(world))
    for client in slow:
        client.close()


def is_accepted(world: World) -> bool:
    try:
        with world.client() as client:
            client.sendall(REQUEST)
            return received(client, pdu.HEAD_BYTES) == ACCEPTANCE
    except OSError:
        return False


@pytest.mark.parametrize("world", [replace(LIMITS, patience_s=0.5)], indirect=True)
def test_who_trickles_is_cut_off(world: World) -> None:
    def is_cut_off() -> bool:
        client.sendall(b"\1")
        try:
            return client.recv(1) == b""
        except TimeoutError:
            return False

    with world.client() as client:
        client.settimeout(0.1)
        wait_until(is_cut_off)


def test_associations_are_counted_too(world: World) -> None:
    held = []
    for _ in range(LIMITS.connections):
        held.append(world.client())
        held[-1].sendall(REQUEST)
        assert received(held[-1], pdu.HEAD_BYTES) == ACCEPTANCE
    with pytest.raises(OSError, match=r"EOF|reset|closed"):
        world.client()
    for client in held:
        client.close()


def test_a_refusal_arrives_although_much_was_sent_that_nobody_reads(world: World) -> None:
    with world.client() as client:
        client.sendall(REQUEST.replace(b"NORTH", b"SOUTH") + bytes(200_000))
        assert received(client, 10) == pdu.CALLED_NOT_RECOGNIZED
        assert client.recv(1) == b""
    assert [why for _, why in world.refused] == ["nobody has this called AE title"]


def test_what_is_no_association_is_noted_without_a_certificate(world: World) -> None:
    with world.client() as client:
        client.sendall(b"GET / HTTP/1.1\r\n".ljust(pdu.HEAD_BYTES))
        assert client.recv(1) == b""
    assert world.refused == [(Association("", "", "127.0.0.1"), "no A-ASSOCIATE-RQ")]


def test_while_the_node_does_not_answer_the_client_is_told_to_try_again(world: World) -> None:
    stop(world.listener)
    with world.client() as client:
        client.sendall(REQUEST)
        assert received(client, 10) == pdu.TRY_AGAIN


def test_a_probe_of_the_port_is_no_refusal_but_a_stranger_is(world: World, tmp_path: Path) -> None:
    socket.create_connection(("127.0.0.1", world.port)).close()
    with contextlib.suppress(OSError), world.client(Authority(tmp_path, "x").sign("ct1")) as client:
        client.sendall(REQUEST)
        assert client.recv(1) == b""
    wait_until(lambda: bool(world.refused))
    assert [(who.calling, why) for who, why in world.refused] == [
        ("", "TLS: CERTIFICATE_VERIFY_FAILED")
    ]
