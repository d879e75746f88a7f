"""DICOMweb destinations, dcmtk as receiver, servers that are killed, and the connection test."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from psycopg.types.json import Jsonb
from pydicom import dcmread

from extensions.routing import destinations, ledger
from extensions.routing.destination_settings import parse_settings
from extensions.routing.sending import connection
from gateway import vault
from gateway.db import Database
from gateway.events import StudyStable, publish
from tests.integration.http_service import Answer, Asked, HttpService
from tests.integration.routing.conftest import FakeArchive, Receiver, make_file
from tests.integration.routing.test_forwarding import (
    arrive,
    delivery,
    forward,
    state,
    tried_in_vain,
)
from tests.integration.worker_host import WorkerHost, until
from tests.routing_rules import add_rule


class WebReceiver:
    """A STOW-RS server that takes what has its token."""

    def __init__(self) -> None:
        self.received: Counter[bytes] = Counter()
        self.connections: set[tuple[str, int]] = set()
        self.status = 200
        service = HttpService(self._answer)
        self.url, self.close = f"{service.url}/dicom-web", service.close

    def _answer(self, asked: Asked) -> Answer:
        if asked.method == "GET":
            return Answer(200, b"[]")
        self.connections.add(asked.connection)
        if asked.headers.get("Authorization") != "Bearer hush":
            return Answer(401, b"{}")
        if self.status == 200:
            self.received[asked.body.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--", 1)[0]] += 1
        return Answer(self.status, b"{}")


@pytest.fixture
def web() -> Iterator[WebReceiver]:
    receiver = WebReceiver()
    yield receiver
    receiver.close()


def forward_to_web(database: Database, url: str, token: str) -> int:
    with database.tenant_session("north") as session:
        destination = destinations.create_destination(
            session,
            name="Web",
            kind="dicomweb",
            settings={"url": url, "token": token},
            encryption_key="key",
            actor="test",
        )
        add_rule(session, "all", destination.name)
    return destination.destination_id


def save_web(
    database: Database, destination_id: int, url: str, token: str
) -> destinations.Destination:
    """As the form saves it; without a token the one that is kept stays."""
    with database.tenant_session("north") as session:
        return destinations.update_destination(
            session,
            destination_id,
            name="Web",
            kind="dicomweb",
            settings={"url": url, "token": token},
            encryption_key="key",
            enabled=True,
            actor="test",
        )


def test_a_study_arrives_by_stow_once_over_one_connection(
    database: Database, archive: FakeArchive, web: WebReceiver, host: WorkerHost
) -> None:
    archive.add(*(make_file(n) for n in range(20)))
    forward_to_web(database, web.url, "hush")
    arrive(database)
    until(lambda: state(database) == "delivered")
    assert sorted(web.received) == sorted(archive.files.values())
    assert set(web.received.values()) == {1}
    assert len(web.connections) == 1


def test_a_wrong_token_keeps_the_study_waiting_until_it_is_right(
    database: Database, archive: FakeArchive, web: WebReceiver, host: WorkerHost
) -> None:
    archive.add(make_file(1))
    destination_id = forward_to_web(database, web.url, "wrong")
    arrive(database)
    waiting = tried_in_vain(database)
    assert "401" in str(waiting.last_error)
    save_web(database, destination_id, web.url, "hush")
    until(lambda: state(database) == "delivered")


def test_a_secret_is_kept_for_the_same_address_only(database: Database, web: WebReceiver) -> None:
    destination_id = forward_to_web(database, web.url, "hush")
    tokens = []
    for url in (web.url, "https://elsewhere.example/dicom-web"):
        changed = save_web(database, destination_id, url, "")
        opened = destinations.open_settings(changed, "key")
        tokens.append(opened.model_dump()["token"])
    assert tokens == ["hush", ""]


def test_a_secret_is_sealed_in_its_row_and_named_in_no_log(
    database: Database,
    archive: FakeArchive,
    web: WebReceiver,
    host: WorkerHost,
    owner_url: str,
) -> None:
    archive.add(make_file(1))
    forward_to_web(database, web.url, "hush")
    arrive(database)
    until(lambda: state(database) == "delivered")
    with psycopg.connect(owner_url) as owner:
        rows = owner.execute("SELECT d::text FROM destination d").fetchall()
    with database.tenant_session("north") as session:
        shown = repr(destinations.list_destinations(session))
    assert "hush" not in f"{rows} {shown} {host.log.read_text()}"


def test_a_secret_that_cannot_be_opened_keeps_the_study_waiting_and_says_why(
    database: Database, archive: FakeArchive, web: WebReceiver, host: WorkerHost, owner_url: str
) -> None:
    archive.add(make_file(1))
    destination_id = forward_to_web(database, web.url, "hush")
    sealed = vault.seal("a lost key", "hush")
    with psycopg.connect(owner_url) as owner:
        owner.execute(
            "UPDATE destination SET settings = settings || %s", [Jsonb({"token": sealed})]
        )
    arrive(database)
    waiting = tried_in_vain(database)
    assert "secrets/encryption_key" in str(waiting.last_error)
    save_web(database, destination_id, web.url, "hush")
    until(lambda: state(database) == "delivered")


@pytest.mark.skipif(shutil.which("storescp") is None, reason="dcmtk is not installed")
def test_dcmtk_receives_files_that_are_equal(
    database: Database, archive: FakeArchive, host: WorkerHost, tmp_path: Path
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path / "received"
    folder.mkdir()
    process = subprocess.Popen(["storescp", "-od", folder, "-aet", "PACS", str(port)])
    try:
        archive.add(*(make_file(n) for n in range(58)))
        forward(database, port)
        arrive(database)
        until(lambda: state(database) == "delivered")
    finally:
        process.kill()
        process.wait()
    received = {str(dcmread(path).SOPInstanceUID): dcmread(path) for path in folder.iterdir()}
    assert len(received) == 58
    for uid, file in archive.files.items():
        (tmp_path / "sent.dcm").write_bytes(file)
        assert dcmread(tmp_path / "sent.dcm") == received[uid]


def test_the_connection_test_names_what_is_wrong(
    receiver: Receiver, web: WebReceiver, tmp_path: Path
) -> None:
    def checks(kind: str, **given: object) -> list[tuple[str, bool]]:
        found = connection.test_connection(parse_settings(kind, given), tmp_path)
        return [(check.name.split()[0], check.passed) for check in found]

    there = {"host": "127.0.0.1", "port": receiver.port, "called_aet": "PACS"}
    assert checks("dimse", **there) == [("TCP", True), ("Association", True), ("C-ECHO", True)]
    assert checks("dimse", **{**there, "port": 1}) == [("TCP", False)]
    assert checks("dimse", **{**there, "host": "no.such.host.invalid"}) == [("TCP", False)]
    assert checks("dicomweb", url=web.url) == [("TCP", True), ("GET", True)]
    assert checks("folder", folder="a") == [("Write", True)]
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_peer_that_is_not_there_and_one_that_hangs_up_are_told_apart(
    database: Database, archive: FakeArchive, host: WorkerHost
) -> None:
    archive.add(make_file(1))

    def told(words: str) -> bool:
        found = delivery(database)
        return found is not None and found.last_error == words

    def hang_up() -> None:
        with suppress(OSError):
            while True:
                listener.accept()[0].close()

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        forward(database, port)
        arrive(database)
        until(lambda: told(f"PACS@127.0.0.1:{port} does not answer."))
        listener.listen()
        threading.Thread(target=hang_up, daemon=True).start()
        until(lambda: told(f"PACS@127.0.0.1:{port} aborted the association."))
        listener.shutdown(socket.SHUT_RDWR)


def test_a_hanging_destination_does_not_stop_another(
    database: Database, archive: FakeArchive, receiver: Receiver, host: WorkerHost
) -> None:
    archive.add(make_file(1))
    forward(database, receiver.port)
    with socket.socket() as silent:  # takes the connection and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with database.tenant_session("south") as session:
            there = {"host": "127.0.0.1", "port": silent.getsockname()[1], "called_aet": "X"}
            destinations.create_destination(
                session, name="Hang", kind="dimse", settings=there, actor="test"
            )
            add_rule(session, "all", "Hang")
        with database.tenant_session("south") as session:
            for number in range(10):
                publish(session, "south", StudyStable(f"1.2.{number}", 1))

        def hangs() -> bool:
            with database.tenant_session("south") as session:
                return any(it.state == "sending" for it in ledger.list_deliveries(session))

        until(hangs)
        arrive(database)
        until(lambda: state(database) == "delivered")
        assert hangs()
