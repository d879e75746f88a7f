"""Everything that can break between a study's arrival and its destinations, at random moments."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol, override

import psycopg

from extensions.routing.sending.recording import MOST_UNWRITTEN
from tests.acceptance.conftest import CHECKOUT, RunningGateway
from tests.acceptance.line import Line
from tests.acceptance.watching import Repeated
from tests.ports import free_port


class Receiver(Protocol):
    """Somewhere that studies go, which can be killed and started again."""

    port: int

    def start(self) -> None: ...

    def kill(self) -> None: ...

    @property
    def on_disk(self) -> list[Path]: ...

    @property
    def received(self) -> list[str]: ...


class FaultyReceiver:
    """`faulty_receiver.py` in a process; `mode` is what it does with the next object."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        for name in ("disk", "parts"):
            (folder / name).mkdir(parents=True)
        (folder / "received").touch()
        self.mode("ok")
        self._process: subprocess.Popen[bytes] | None = None

    def mode(self, mode: str) -> None:
        new = self.folder / "mode.new"
        new.write_text(mode)
        new.rename(self.folder / "mode")

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.acceptance.routing.faulty_receiver",
                str(self.port),
                self.folder,
            ],
            cwd=CHECKOUT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()

    @property
    def on_disk(self) -> list[Path]:
        return list((self.folder / "disk").iterdir())

    @property
    def received(self) -> list[str]:
        return (self.folder / "received").read_text().split()


def most_repeats(destinations: int, instances: int) -> Mapping[str, int]:
    """How many instances each kind of fault may have sent once more, in studies of `instances`.

    Answers that are not written are lost with their worker, or known to it alone when another
    takes its delivery over, as it may after PostgreSQL was away. A worker has one delivery, that
    is one study, and a destination has one at a time. A line or a receiver that breaks, or hangs
    for longer than is waited for, leaves one instance without an answer.
    """
    unwritten = min(MOST_UNWRITTEN, instances)
    everywhere = destinations * unwritten
    return {
        "kill worker host": everywhere,
        "kill a worker": unwritten,
        "kill postgresql": everywhere,
        "kill receiver": 1,
        "cut": 1,
        "hang": 1,
    }


class Monkey:
    """Breaks something every second or so; each kind as often as the others, in random order."""

    def __init__(
        self,
        gateway: RunningGateway,
        receivers: Sequence[Receiver],
        lines: Sequence[Line],
        *,
        instances: int,
        seed: int,
        long_hangs: bool,
    ) -> None:
        self._gateway, self._receivers, self._lines = gateway, receivers, lines
        self._most_repeats = most_repeats(len(receivers), instances)
        self._random = random.Random(seed)
        self._long_hangs = long_hangs
        self._deck: list[str] = []
        self._repairs: list[tuple[float, Callable[[], None]]] = []
        self.done: Counter[str] = Counter()

    def run(self, enough: Callable[[], bool]) -> None:
        """Until `enough`; then everything is whole again."""
        while not enough():
            time.sleep(self._random.uniform(0.3, 1.8))
            self._repair(time.monotonic())
            if not self._deck:
                self._deck = list(self._kinds)
                self._random.shuffle(self._deck)
            kind = self._deck.pop()
            if self._kinds[kind]():
                self.done[kind] += 1
        self._repair(float("inf"))
        for line in self._lines:
            line.mend()

    @property
    def repeats(self) -> int:
        """How many instances may have come twice."""
        return sum(self._most_repeats.get(kind, 0) * n for kind, n in self.done.items())

    @property
    def _kinds(self) -> dict[str, Callable[[], bool]]:
        return {
            "kill worker host": lambda: self._kill("edge:worker"),
            "kill a worker": self._kill_a_worker,
            "kill redis": lambda: self._kill("stores:redis"),
            "kill postgresql": lambda: self._kill("stores:postgresql"),
            "kill orthanc": lambda: self._kill("node:orthanc"),
            "kill receiver": self._kill_receiver,
            "refuse with a700": lambda: self._misbehave("a700"),
            "refuse with c000": lambda: self._misbehave("c000"),
            "abort": lambda: self._misbehave("abort"),
            "hang": lambda: self._misbehave("hang"),
            "cut": self._cut,
        }

    def _repair(self, now: float) -> None:
        due = [repair for at, repair in self._repairs if at <= now]
        self._repairs = [(at, repair) for at, repair in self._repairs if at > now]
        for repair in due:
            repair()

    def _later(self, repair: Callable[[], None], seconds: float | None = None) -> None:
        pause = self._random.uniform(0.5, 3.0) if seconds is None else seconds
        self._repairs.append((time.monotonic() + pause, repair))

    def _kill(self, program: str) -> bool:
        pid = pid_of(self._gateway, program)
        with suppress(ProcessLookupError):
            if pid:
                os.kill(pid, signal.SIGKILL)
        return pid > 0

    def _kill_a_worker(self) -> bool:
        parent = pid_of(self._gateway, "edge:worker")
        children = Path(f"/proc/{parent}/task/{parent}/children")
        try:
            os.kill(int(self._random.choice(children.read_text().split())), signal.SIGKILL)
        except (OSError, IndexError):
            return False
        return True

    def _kill_receiver(self) -> bool:
        receiver = self._random.choice(self._receivers)
        receiver.kill()
        self._later(receiver.start)
        return True

    def _misbehave(self, mode: str) -> bool:
        receiver = self._random.choice(
            [r for r in self._receivers if isinstance(r, FaultyReceiver)]
        )
        receiver.mode(mode)
        long = self._long_hangs and mode == "hang" and self._random.random() < 0.3
        self._later(lambda: receiver.mode("ok"), 35.0 if long else None)
        return True

    def _cut(self) -> bool:
        # An object has some 35 kB.
        self._random.choice(self._lines).cut_after(self._random.randrange(1, 70_000))
        return True


def pid_of(gateway: RunningGateway, program: str) -> int:
    """The process of a part of the gateway; 0: it is not running just now."""
    told = subprocess.run(
        ["supervisorctl", "-s", f"unix://{gateway.data}/run/supervisor.sock", "pid", program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": ""},
    ).stdout.strip()
    return int(told) if told.isdigit() else 0


class Ledger(Repeated):
    """Reads again and again what the ledger calls delivered, and looks whether it is there.

    `lies`: what was marked delivered and was not on the receiver's disk, or is not any more.
    """

    def __init__(self, gateway: RunningGateway, receivers: Mapping[str, Receiver]) -> None:
        super().__init__(0.2)
        self._gateway, self._receivers = gateway, receivers
        self._known: set[tuple[str, str]] = set()
        self.lies: set[tuple[str, str]] = set()
        self.looks = 0

    def states(self) -> dict[tuple[str, str], str]:
        """The state of each instance at each destination; raises `psycopg.OperationalError`."""
        with psycopg.connect(
            f"host={self._gateway.data}/run/postgresql user=argonath dbname=argonath"
        ) as owner:
            rows = owner.execute(
                "SELECT destination_name, i.sop_instance_uid, i.state FROM delivery_instance i "
                "JOIN delivery USING (delivery_id) WHERE destination_name = ANY(%s)",
                [list(self._receivers)],
            ).fetchall()
        known_too = {"verified": "delivered"}
        return {(name, uid): known_too.get(state, state) for name, uid, state in rows}

    def disks(self) -> set[tuple[str, str]]:
        """What each destination has."""
        return {(name, uid_of(file)) for name, it in self._receivers.items() for file in it.on_disk}

    @override
    def look(self) -> None:
        try:
            states = self.states()
        except psycopg.OperationalError:
            return
        delivered = {key for key, state in states.items() if state == "delivered"}
        there = self.disks()  # after the ledger: what it knows was stored before
        self.lies |= (delivered - there) | (self._known - delivered)
        self._known = delivered
        self.looks += 1


def uid_of(file: Path) -> str:
    """The SOP Instance UID by which a receiver names a file; storescp puts the modality first."""
    return file.name.removeprefix("CT.")
