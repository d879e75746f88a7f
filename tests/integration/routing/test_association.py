"""What a peer may answer on an association, and what comes of it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from extensions.routing.destination_settings import DimseSettings
from extensions.routing.sending.association import Association
from gateway.errors import DestinationUnavailable
from tests.integration.routing.conftest import Receiver, make_file

CT = (CTImageStorage, ExplicitVRLittleEndian)
RELEASE = bytes.fromhex("05000000000400000000")
ABORT = bytes.fromhex("07000000000400000000")


@contextmanager
def between(port: int, change: Callable[[bytes], list[bytes]]) -> Iterator[int]:
    """A port before the receiver: what it says after its first words comes as `change` has it."""

    def answers(server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            client.sendall(server.recv(65536))
            while said := server.recv(65536):
                for part in change(said):
                    client.sendall(part)

    def serve() -> None:
        with suppress(OSError):
            client, _ = listener.accept()
            with client, socket.create_connection(("127.0.0.1", port)) as server:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=answers, args=(server, client), daemon=True).start()
                while said := client.recv(65536):
                    server.sendall(said)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def associate(port: int, *proposals: tuple[UID, UID]) -> Association:
    settings = DimseSettings(host="127.0.0.1", port=port, called_aet="PACS")
    return Association(settings, proposals or [CT], timeout_s=10.0)


def data_set() -> bytes:
    file = make_file(1)
    return file[144 + int.from_bytes(file[140:144], "little") :]


def test_an_object_arrives_and_its_status_comes_back(receiver: Receiver) -> None:
    association = associate(receiver.port, CT, (CTImageStorage, ImplicitVRLittleEndian))
    receiver.refused["1.2.3"] = 0xA700
    assert association.store(CT, "1.2.4", data_set()).status == 0
    assert association.store(CT, "1.2.3", data_set()).status == 0xA700
    assert association.is_open
    association.release()
    assert receiver.files["1.2.4"].endswith(data_set())


def test_an_answer_may_come_byte_by_byte(receiver: Receiver) -> None:
    with between(receiver.port, lambda said: [said[n : n + 1] for n in range(len(said))]) as port:
        association = associate(port)
        assert association.store(CT, "1.2.4", data_set()).status == 0
        association.close()


@pytest.mark.parametrize(
    "answer", [RELEASE, ABORT, b"\x04\x00\xff\xff\xff\xff", b"HTTP/1.1 200 OK\r\n\r\n"]
)
def test_anything_else_than_an_answer_is_none(receiver: Receiver, answer: bytes) -> None:
    with between(receiver.port, lambda _: [answer]) as port:
        association = associate(port)
        with pytest.raises(DestinationUnavailable, match="ended the association"):
            association.store(CT, "1.2.4", data_set())
        assert not association.is_open


def test_the_answer_to_another_message_is_none(receiver: Receiver) -> None:
    # (0000,0120) Message ID Being Responded To
    there = bytes.fromhex("00002001020000000100")
    other = bytes.fromhex("00002001020000000900")
    with between(receiver.port, lambda said: [said.replace(there, other)]) as port:
        association = associate(port)
        with pytest.raises(DestinationUnavailable):
            association.store(CT, "1.2.4", data_set())


def test_silence_is_no_answer(receiver: Receiver) -> None:
    with between(receiver.port, lambda _: []) as port:
        association = associate(port)
        association._socket.settimeout(0.5)
        with pytest.raises(DestinationUnavailable, match="did not answer a C-STORE"):
            association.store(CT, "1.2.4", data_set())
