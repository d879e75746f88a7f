"""Folders and buckets as destinations, receivers that want no compression, and what they have."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, RLELossless
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
)

from extensions.routing import destinations, ledger, progress
from extensions.routing.progress import Names, Outcome
from extensions.routing.sending import verifying
from gateway.actions import Subject
from gateway.archive import Reference
from gateway.db import Database
from gateway.settings import Settings
from tests.integration.routing.conftest import SERIES, STUDY, FakeArchive, Receiver, make_file
from tests.integration.routing.test_forwarding import (
    arrive,
    delivery,
    forward,
    state,
    tried_in_vain,
)
from tests.integration.worker_host import WorkerHost, until
from tests.routing_rules import add_rule


def forward_to(database: Database, kind: str, actions: Any = None, **settings: Any) -> None:
    with database.tenant_session("north") as session:
        destinations.create_destination(
            session,
            name=kind,
            kind=kind,
            settings=settings,
            encryption_key="key",
            actor="test",
        )
        add_rule(session, "all", kind, actions=actions)


@pytest.fixture
def exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ARGONATH_EXPORT_ROOT", str(tmp_path / "export"))
    return tmp_path / "export"


def test_a_study_is_written_to_the_tenants_own_folder(
    exports: Path, database: Database, archive: FakeArchive, settings: Settings
) -> None:
    archive.add(*(make_file(n) for n in range(5)))
    forward_to(database, "folder", folder="research/ct", pattern="{PatientID}/{SOPInstanceUID}.dcm")
    host = WorkerHost(settings)
    try:
        arrive(database)
        until(lambda: state(database) == "delivered")
    finally:
        host.kill()
    written = {path.relative_to(exports): path.read_bytes() for path in exports.rglob("*.*m")}
    place = Path("north/research/ct/P1")
    assert written == {place / f"{uid}.dcm": file for uid, file in archive.files.items()}


@pytest.fixture
def s3() -> Iterator[str]:
    """The address of an S3 server."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def test_a_study_arrives_in_a_bucket_when_there_is_one(
    database: Database, archive: FakeArchive, s3: str, host: WorkerHost
) -> None:
    archive.add(*(make_file(n) for n in range(5)))
    keys = {"access_key": "ann", "secret_key": "hush"}
    forward_to(database, "s3", url=s3, bucket="images", pattern="in/{SOPInstanceUID}", **keys)
    arrive(database)
    waiting = tried_in_vain(database)
    assert "NoSuchBucket" in str(waiting.last_error)
    client = boto3.client(
        "s3",
        endpoint_url=s3,
        region_name="us-east-1",
        aws_access_key_id="ann",
        aws_secret_access_key="hush",
    )
    client.create_bucket(Bucket="images")
    until(lambda: state(database) == "delivered")
    kept = {
        each["Key"]: client.get_object(Bucket="images", Key=each["Key"])["Body"].read()
        for each in client.list_objects_v2(Bucket="images")["Contents"]
    }
    client.close()
    assert kept == {f"in/{uid}": file for uid, file in archive.files.items()}


class OldReceiver(Receiver):
    """Takes no compressed files, and can be asked what it has; it may lose some."""

    def start(self) -> None:
        self.lost: set[str] = getattr(self, "lost", set())
        ae = AE(ae_title="PACS")
        for context in AllStoragePresentationContexts:
            assert context.abstract_syntax is not None
            ae.add_supported_context(context.abstract_syntax, ExplicitVRLittleEndian)
        ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_C_FIND, self._find)]
        self._server = ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)
        self.port = self._server.server_address[1]  # type: ignore[union-attr]

    def _find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        for uid, file in list(self.files.items()):
            kept = dcmread(BytesIO(file), force=True)
            same = kept.SeriesInstanceUID == event.identifier.SeriesInstanceUID
            if same and uid not in self.lost:
                answer = Dataset()
                answer.SOPInstanceUID = uid
                yield 0xFF00, answer


@pytest.fixture
def old() -> Iterator[OldReceiver]:
    receiver = OldReceiver()
    yield receiver
    receiver.stop()


def test_a_compressed_file_goes_decompressed_where_it_must(
    database: Database, archive: FakeArchive, old: OldReceiver, host: WorkerHost
) -> None:
    compressed, lossy = (dcmread(BytesIO(make_file(n))) for n in (1, 2))
    for dataset in (compressed, lossy):
        dataset.compress(RLELossless, generate_instance_uid=False)
        buffer = BytesIO()
        dataset.save_as(buffer)
        archive.add(buffer.getvalue())
    uid = str(compressed.SOPInstanceUID)
    archive.decompressed[uid] = make_file(1)  # of the other Orthanc has no decoder
    forward(database, old.port)
    arrive(database)
    until(lambda: state(database) == "failed")
    found = delivery(database)
    assert found is not None
    with database.tenant_session("north") as session:
        told = {i.sop_instance_uid: i for i in ledger.instances_of(session, found.delivery_id)}
    assert make_file(1).endswith(old.files[uid])
    assert (told[uid].state, "decompressed" in told[uid].cause) == ("delivered", True)
    assert "It cannot be decompressed here." in told[str(lossy.SOPInstanceUID)].cause


def verify_at(database: Database, port: int, actions: Any = None) -> None:
    there = {"host": "127.0.0.1", "port": port, "called_aet": "PACS", "verify": "query"}
    forward_to(database, "dimse", actions, **there)


def test_what_the_destination_finds_is_verified(
    database: Database, archive: FakeArchive, old: OldReceiver, host: WorkerHost
) -> None:
    archive.add(*(make_file(n) for n in range(5)))
    verify_at(database, old.port)
    arrive(database)
    until(lambda: state(database) == "verified")
    found = delivery(database)
    assert found is not None
    with database.tenant_session("north") as session:
        times = [i.verified_at for i in ledger.instances_of(session, found.delivery_id)]
    assert all(times)
    assert set(old.received.values()) == {1}


def test_what_was_acknowledged_and_is_not_found_is_sent_again(
    database: Database, archive: FakeArchive, old: OldReceiver, host: WorkerHost
) -> None:
    archive.add(*(make_file(n) for n in range(3)))
    old.lost = {f"{SERIES}.1"}
    verify_at(database, old.port)
    arrive(database)
    until(lambda: old.received[f"{SERIES}.1"] == 2, 40)
    old.lost = set()
    until(lambda: state(database) == "verified", 40)
    assert sorted(old.received.values()) == [1, 1, 2]


def test_a_destination_that_finds_nothing_is_not_sent_to_for_ever(
    database: Database, archive: FakeArchive
) -> None:
    verify_at(database, 1)
    with database.tenant_session("north") as session:
        to = destinations.named(session, "dimse")
        subject = Subject(STUDY, (Reference("1.2.3", "1.2", "1.2"),), "rule")
        delivery_id, _ = progress.plan(session, to, subject)
        for _ in range(verifying.MOST_SENDINGS):
            progress.record(session, delivery_id, Outcome("1.2.3", True, False, "0x0000"))
            found = ledger.get_delivery(session, delivery_id)
            verifying._send_again(session, found, {"1.2.3": verifying.MISSING})
        assert ledger.get_delivery(session, delivery_id).state == "failed"


def test_a_changed_copy_is_looked_for_by_its_own_uids(
    database: Database, archive: FakeArchive, old: OldReceiver, host: WorkerHost
) -> None:
    there = Dataset()
    there.SeriesInstanceUID, there.SOPInstanceUID = "1.2.7", "1.2.7.1"
    old.files["1.2.7.1"] = encode(there, False, True) or b""
    verify_at(database, old.port)
    instance = Reference(f"{SERIES}.1", SERIES, "1.2")
    with database.tenant_session("north") as session:
        session.execute("UPDATE destination SET enabled = false")
        to = destinations.named(session, "dimse")
        delivery_id, _ = progress.plan(session, to, Subject(STUDY, (instance,), "rule"))
        names = Names("", "1.2.7", "1.2.7.1")
        delivered = Outcome(instance.sop_instance_uid, True, False, "0x0000", sent=names)
        progress.record(session, delivery_id, delivered)
        verifying.plan(session, ledger.get_delivery(session, delivery_id), 0.0)
    until(lambda: state(database) == "verified")
