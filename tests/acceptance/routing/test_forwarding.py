"""A rule forwards what arrives: everything, once, whatever dies in between."""

from __future__ import annotations

import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import dict_row
from pydicom import dcmread
from pydicom.uid import generate_uid

from extensions.routing.destinations import (
    create_destination,
    delete_destination,
    list_destinations,
)
from gateway.db import Database, Session
from tests.acceptance.committing import run_sql
from tests.acceptance.conftest import RunningGateway, study_uid_of
from tests.acceptance.test_real_ct import real_ct
from tests.acceptance.watching import Watch
from tests.ports import free_port, is_listening
from tests.routing_rules import add_rule, remove_rule

SLICES = 40


class Receiver:
    """dcmtk's storescp, which writes down each reception and can be told to take no more for now.

    The rule of the fixture forwards to it what is of `patient`.
    """

    def __init__(self, folder: Path, patient: str) -> None:
        self.patient = patient
        self.folder, self.port = folder, free_port()
        self.disk = folder / "disk"
        self.disk.mkdir()
        self.log = folder / "received"
        self.log.touch()
        self._held = folder / "held"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        script = self.folder / "on-reception"
        script.write_text(
            f'#!/bin/sh\necho "$1" >> {self.log}\n'
            f'while [ -e {self._held} ] && [ "$(wc -l < {self.log})" -ge "$(cat {self._held})" ]\n'
            "do sleep 0.05\ndone\n"
        )
        script.chmod(0o755)
        self._process = subprocess.Popen(
            ["/usr/bin/storescp", "-od", self.disk, "-aet", "RECEIVER", "+xa",
             "-xcr", f"{script} #f", "--exec-sync", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        RunningGateway.wait_until(lambda: is_listening(self.port))

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
        self.go_on()

    def hold_after(self, count: int) -> None:
        """Acknowledge so many instances, and take no other until `go_on` or `start`."""
        self._held.write_text(str(count))

    def go_on(self) -> None:
        self._held.unlink(missing_ok=True)

    @property
    def on_disk(self) -> list[Path]:
        """What it has; each file was there before it was acknowledged."""
        return list(self.disk.iterdir())

    @property
    def received(self) -> list[str]:
        """The name of the file of each reception, one entry for each time."""
        return self.log.read_text().split()

    @property
    def all_received(self) -> list[str]:
        """The same when nothing comes any more: storescp acknowledges before it runs the script."""
        end = time.monotonic() + 10
        while len(self.received) < len(self.on_disk) and time.monotonic() < end:
            time.sleep(0.05)
        return self.received


@pytest.fixture
def receiver(gateway: RunningGateway, tmp_path: Path) -> Iterator[Receiver]:
    """A receiver to which a rule of north forwards CT."""
    name = uuid.uuid4().hex[:8]
    receiver = Receiver(tmp_path, f"Forward^{name}")
    receiver.start()
    with routing(gateway) as session:
        destination = create_destination(
            session,
            name=name,
            kind="dimse",
            settings={"host": "127.0.0.1", "port": receiver.port, "called_aet": "RECEIVER"},
            actor="test",
        )
        patient = ("PatientName", "equals", receiver.patient)
        add_rule(session, name, name, ("Modality", "equals", "CT"), patient)
    yield receiver
    receiver.kill()
    with routing(gateway) as session:
        remove_rule(session, name)
        delete_destination(session, destination.destination_id, actor="test")


@contextmanager
def routing(gateway: RunningGateway) -> Iterator[Session]:
    """A session of north on the running gateway's database."""
    database = Database(
        f"postgresql://argonath_app@/argonath?host={gateway.data}/run/postgresql", max_size=1
    )
    with database.tenant_session("north") as session:
        yield session
    database.close()


def ledger(gateway: RunningGateway, study: str) -> dict[str, int]:
    """How many instances of a study are in which state of delivery."""
    with psycopg.connect(
        f"host={gateway.data}/run/postgresql user=argonath dbname=argonath", row_factory=dict_row
    ) as owner:
        rows = owner.execute(
            "SELECT i.state, count(*) AS n FROM delivery_instance i "
            "JOIN delivery USING (delivery_id) WHERE study_instance_uid = %s GROUP BY i.state",
            [study],
        ).fetchall()
    return {row["state"]: row["n"] for row in rows}


def send(gateway: RunningGateway, receiver: Receiver, folder: Path) -> str:
    folder.mkdir()
    return gateway.send_phantom(folder, receiver.patient, slices=SLICES)


def as_new(files: list[Path], patient: str, folder: Path) -> list[Path]:
    """The same images of another patient, in a study of their own."""
    folder.mkdir()
    study, series = generate_uid(), generate_uid()
    for file in files:
        image = dcmread(file)
        image.PatientName, image.StudyInstanceUID, image.SeriesInstanceUID = patient, study, series
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        image.save_as(folder / file.name)
    return sorted(folder.iterdir())


def failures(gateway: RunningGateway, receiver: Receiver) -> int:
    """How many times in a row the receiver could not be reached."""
    with routing(gateway) as session:
        found = {destination.name: destination for destination in list_destinations(session)}
    return found[receiver.patient.removeprefix("Forward^")].failures


def complete(gateway: RunningGateway, study: str) -> Callable[[], bool]:
    def holds() -> bool:
        try:
            return ledger(gateway, study) == {"delivered": SLICES}
        except psycopg.OperationalError:
            return False  # PostgreSQL is being restarted

    return holds


def test_every_instance_arrives_once(
    gateway: RunningGateway, receiver: Receiver, tmp_path: Path
) -> None:
    study = send(gateway, receiver, tmp_path / "sent")
    gateway.wait_until(complete(gateway, study), 60)
    assert len(receiver.all_received) == SLICES
    assert len(set(receiver.received)) == SLICES


def test_a_real_ct_survives_a_dead_receiver_and_the_portal_tells_the_truth(
    gateway: RunningGateway, receiver: Receiver, tmp_path: Path
) -> None:
    files = as_new(real_ct(), receiver.patient, tmp_path / "sent")
    study = study_uid_of(files[0])
    with Watch(gateway, study, lambda: len(receiver.on_disk)) as watch:
        receiver.hold_after(29)
        assert gateway.storescu(*files).returncode == 0
        gateway.wait_until(lambda: len(receiver.received) == 29, 60)
        gateway.wait_until(lambda: sum(ledger(gateway, study).values()) == 58, 60)
        receiver.kill()
        told = f"RECEIVER@127.0.0.1:{receiver.port} does not answer."
        gateway.wait_until(lambda: watch.now and told in watch.now.page, 60)
        since, times = len(watch.seen), failures(gateway, receiver)
        gateway.wait_until(lambda: failures(gateway, receiver) > times, 60)
        gateway.wait_until(lambda: any(it.state == "waiting" for it in watch.seen[since:]), 60)
        down = watch.seen[since:]
        receiver.start()
        gateway.wait_until(lambda: watch.now and watch.now.state == "delivered", 60)

    assert "waiting" in {sight.state for sight in down}
    assert {sight.state for sight in down} <= {"waiting", "sending"}  # while it tries once more
    assert {sight.total for sight in down} == {58}
    assert all(told in sight.page for sight in down)
    assert all(sight.delivered <= sight.on_disk for sight in watch.seen)
    assert all(sight.on_disk == 58 for sight in watch.seen if sight.state == "delivered")
    assert watch.seen[-1].delivered == 58

    assert len(receiver.all_received) == len(set(receiver.received)) == 58
    arrived = {ds.SOPInstanceUID: ds for ds in map(dcmread, receiver.on_disk)}
    assert len(arrived) == 58
    assert all(arrived[ds.SOPInstanceUID] == ds for ds in map(dcmread, files))


def test_a_receiver_that_dies_half_way_gets_the_rest_when_it_is_back(
    gateway: RunningGateway, receiver: Receiver, tmp_path: Path
) -> None:
    some = SLICES // 3
    receiver.hold_after(some)
    study = send(gateway, receiver, tmp_path / "sent")
    gateway.wait_until(lambda: len(receiver.received) == some, 60)
    receiver.kill()
    rest = {"delivered": some, "planned": SLICES - some}
    gateway.wait_until(lambda: ledger(gateway, study) == rest, 30)
    assert len(receiver.on_disk) == some
    receiver.start()
    gateway.wait_until(complete(gateway, study), 90)
    assert len(receiver.on_disk) == len(receiver.all_received) == SLICES


@pytest.mark.parametrize(
    "part", ["node:orthanc", "edge:worker", "stores:redis", "stores:postgresql"]
)
def test_forwarding_completes_although_a_part_is_killed(
    gateway: RunningGateway, receiver: Receiver, tmp_path: Path, part: str
) -> None:
    some = SLICES // 4
    receiver.hold_after(some)
    study = send(gateway, receiver, tmp_path / "sent")
    # What was acknowledged is written down while the rest is still to be sent.
    gateway.wait_until(lambda: ledger(gateway, study).get("delivered") == some, 60)
    killed_worker = part == "edge:worker"
    gateway.kill(part, group=killed_worker)  # with the one who sends
    if killed_worker:
        run_sql(gateway, "UPDATE job SET lease_until = now() WHERE state = 'running'")
    receiver.go_on()
    gateway.wait_until(complete(gateway, study), 120)
    assert len(receiver.on_disk) == SLICES
    # Only a killed worker does not hear the acknowledgement of what it was sending.
    assert len(receiver.all_received) <= SLICES + killed_worker
    gateway.wait_until(gateway.is_ready, 30)
    assert len(gateway.dicomweb(gateway.north_key).search_for_instances(study)) == SLICES


def test_a_study_is_stable_once_although_orthanc_is_killed_while_it_arrives(
    gateway: RunningGateway, receiver: Receiver, tmp_path: Path
) -> None:
    study = ""

    def is_sent() -> bool:
        nonlocal study
        study = send(gateway, receiver, tmp_path / "sent")
        return True

    gateway.kill("node:orthanc", when=is_sent)  # so nothing slow is between the two
    gateway.wait_until(complete(gateway, study), 120)
    assert len(receiver.on_disk) == len(receiver.all_received) == SLICES
    gateway.wait_until(gateway.is_ready, 60)
    assert len(gateway.dicomweb(gateway.north_key).search_for_instances(study)) == SLICES
