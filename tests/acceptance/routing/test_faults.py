"""Studies go to three destinations while everything is killed, refuses, hangs and is cut off.

In the end each destination has each instance once, and the ledger never said more than that.
`ARGONATH_FAULT_STUDIES` (20; `make fault-test`: 300) and `ARGONATH_FAULT_SEED` say how much, and
which moments.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from pydicom import dcmread

from extensions.routing import destinations, ledger
from gateway.errors import DatabaseUnavailable
from gateway.phantom import ct_phantom
from tests.acceptance.conftest import RunningGateway, make_gateway
from tests.acceptance.line import Line
from tests.acceptance.routing import test_forwarding
from tests.acceptance.routing.faults import FaultyReceiver, Ledger, Monkey, Receiver, uid_of
from tests.acceptance.routing.test_forwarding import routing
from tests.routing_rules import add_rule, remove_rule

STUDIES = int(os.environ.get("ARGONATH_FAULT_STUDIES", "20"))
SEED = int(os.environ.get("ARGONATH_FAULT_SEED", "4"))
SLICES = 3
ROUNDS = 2 if STUDIES <= 20 else 12  # of each kind of fault
KINDS = 11
PAUSE_S = 0.5  # between two studies, so that what breaks meets some at every stage


@dataclass
class Hospital:
    """The destinations by name, and what lies before them."""

    receivers: dict[str, Receiver]
    lines: list[Line]


@pytest.fixture(scope="module")
def gateway() -> Iterator[RunningGateway]:
    """One of our own: what is killed here is nobody else's."""
    gateway = make_gateway(stable_after_s="2", retry_delay_s="1")
    yield gateway
    gateway.stop()


@pytest.fixture
def hospital(gateway: RunningGateway, tmp_path: Path) -> Iterator[Hospital]:
    """Two receivers of our own, dcmtk's storescp, each behind a line that can be cut."""
    mark = uuid.uuid4().hex[:6]
    (tmp_path / "dcmtk").mkdir()
    receivers: dict[str, Receiver] = {
        f"one-{mark}": FaultyReceiver(tmp_path / "one"),
        f"two-{mark}": FaultyReceiver(tmp_path / "two"),
        f"dcmtk-{mark}": test_forwarding.Receiver(tmp_path / "dcmtk", "Fault"),
    }
    lines = []
    for name, receiver in receivers.items():
        receiver.start()
        lines.append(Line(receiver.port))
        with routing(gateway) as session:
            destinations.create_destination(
                session, name=name, kind="dimse", settings=_settings(lines[-1]), actor="test"
            )
    with routing(gateway) as session:
        forwards = [{"forward": {"to": name}} for name in receivers]
        add_rule(session, mark, "", ("PatientName", "equals", f"Fault^{mark}"), actions=forwards)
    yield Hospital(receivers, lines)
    with routing(gateway) as session:
        remove_rule(session, mark)
        for each in destinations.list_destinations(session):
            if each.name in receivers:
                destinations.delete_destination(session, each.destination_id, actor="test")
    for line, receiver in zip(lines, receivers.values(), strict=True):
        line.close()
        receiver.kill()


def _settings(line: Line) -> dict[str, object]:
    return {"host": "127.0.0.1", "port": line.port, "called_aet": "RECEIVER"}


class Modality(threading.Thread):
    """Sends studies one after the other, each again until all of it is acknowledged."""

    def __init__(self, gateway: RunningGateway, folder: Path, patient: str) -> None:
        super().__init__(daemon=True)
        self._gateway, self._folder, self._patient = gateway, folder, patient
        self.files: dict[str, Path] = {}  # by SOP Instance UID
        self.failed = ""

    def run(self) -> None:
        for number in range(STUDIES):
            seed = f"{self._patient} {number}"
            files = []
            for content in ct_phantom(
                SLICES, seed=seed, patient_name=self._patient, patient_id=f"F{number}"
            ):
                file = self._folder / f"{number}-{len(files)}.dcm"
                file.write_bytes(content)
                files.append(file)
                self.files[str(dcmread(file, stop_before_pixels=True).SOPInstanceUID)] = file
            if not self._send(files):
                return
            time.sleep(PAUSE_S)

    def _send(self, files: list[Path]) -> bool:
        end = time.monotonic() + 180
        while (sent := self._gateway.storescu(*files)).returncode != 0:
            if time.monotonic() > end:
                self.failed = sent.stdout + sent.stderr
                return False
            time.sleep(0.3)
        return True


def test_every_destination_gets_everything_once_whatever_breaks(
    gateway: RunningGateway, hospital: Hospital, tmp_path: Path
) -> None:
    (tmp_path / "sent").mkdir()
    mark = next(iter(hospital.receivers)).removeprefix("one-")
    modality = Modality(gateway, tmp_path / "sent", f"Fault^{mark}")
    receivers = list(hospital.receivers.values())
    monkey = Monkey(
        gateway,
        receivers,
        hospital.lines,
        instances=SLICES,
        seed=SEED,
        long_hangs=ROUNDS > 1,
    )
    began = time.monotonic()
    with Ledger(gateway, hospital.receivers) as watch:
        modality.start()
        monkey.run(lambda: not modality.is_alive() and sum(monkey.done.values()) >= ROUNDS * KINDS)
        assert not modality.failed
        wanted = {(name, uid) for name in hospital.receivers for uid in modality.files}
        calm = time.monotonic()
        mend(gateway, hospital)
        end = calm + 150 + STUDIES
        while not is_complete(gateway, hospital, watch, wanted):
            assert time.monotonic() < end, f"{Counter(watch.states().values())} of {len(wanted)}"
            time.sleep(1)
        time.sleep(1)  # what is wrong may come late
        states, disks = watch.states(), watch.disks()

    came = {name: Counter(map(_uid, it.received)) for name, it in hospital.receivers.items()}
    again = sum(sum(counts.values()) - len(counts) for counts in came.values())
    print(
        f"\n{len(modality.files)} instances to {len(receivers)} destinations; seed {SEED}; "
        f"{dict(sorted(monkey.done.items()))}; {calm - began:.0f} s of faults, "
        f"{time.monotonic() - calm:.0f} s to complete; {again} came twice, "
        f"at most {monkey.repeats} may; the ledger was read {watch.looks} times"
    )
    assert watch.looks > 20
    assert not watch.lies
    assert set(monkey.done) == set(monkey._kinds)
    assert states == dict.fromkeys(wanted, "delivered")
    assert disks == wanted
    assert again <= monkey.repeats
    for receiver in receivers:
        for file in receiver.on_disk:
            assert dcmread(file) == dcmread(modality.files[uid_of(file)])


def _uid(name: str) -> str:
    return uid_of(Path(name))


def mend(gateway: RunningGateway, hospital: Hospital) -> None:
    """An admin saves each destination again, so that nothing waits out its back-off."""
    gateway.wait_until(gateway.is_ready, 60)
    with routing(gateway) as session:
        for each in destinations.list_destinations(session):
            if each.name in hospital.receivers:
                destinations.update_destination(
                    session,
                    each.destination_id,
                    name=each.name,
                    kind="dimse",
                    settings=destinations.dump_settings(each.settings),
                    enabled=True,
                    actor="test",
                )


def is_complete(
    gateway: RunningGateway, hospital: Hospital, watch: Ledger, wanted: set[tuple[str, str]]
) -> bool:
    """Whether the ledger says so; what was refused for good is released, as an admin does."""
    try:
        states = watch.states()
        if "failed" in states.values():
            with routing(gateway) as session:
                for delivery in ledger.failures(session, limit=1000):
                    if delivery.destination_name in hospital.receivers:
                        ledger.release(session, delivery.delivery_id, actor="test")
    except (psycopg.OperationalError, DatabaseUnavailable):
        return False
    return {key for key, state in states.items() if state == "delivered"} == wanted
