"""`make bench-archive`: look-ups in a small and in a large archive, ours beside stock Orthanc's.

All four are asked in turns. Every study is one tenant's, so that the tenant is as large as the
archive. They are filled by C-STORE and started anew before they are measured.
"""

from __future__ import annotations

import shutil
import time
from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.acceptance.conftest import RunningGateway
from tests.bench import gateways, stock, table
from tests.bench.files import Instance, write_studies
from tests.bench.measure import DICOM, JSON, Ask, Target, c_store, in_turn

ASSOCIATIONS, EACH = 4, 250
ASKED = 100  # studies, evenly spread over the archive
TURNS = 3  # of asking for each of them
TENANT = "north"
_A_DAY = "86400"  # no look-up asks whether a study is stable, and to make 50,000 so takes long
FLAT = "Look-ups in the archive: flat"


@dataclass
class Archive:
    """A gateway and a stock Orthanc that hold the same studies."""

    gateway: RunningGateway
    peer: stock.StockOrthanc
    stored: list[Instance] = field(default_factory=list)

    @property
    def ours(self) -> Target:
        return Target("gateway", self.gateway.dicom_port, self.gateway.url, called=TENANT.upper())

    @property
    def theirs(self) -> Target:
        return Target("stock", self.peer.dicom_port, self.peer.url)

    def fill(self, size: int, folder: Path) -> None:
        """Store `size` studies in both, in both at once, and say how long it took."""
        seconds = [0.0, 0.0]
        with ThreadPoolExecutor(2) as both:
            while len(self.stored) < size:
                batches = self._batches(size, folder)
                sending = [both.submit(c_store, to, batches) for to in (self.ours, self.theirs)]
                for side, sent in enumerate(sending):
                    seconds[side] += sent.result()
                for batch in batches:
                    shutil.rmtree(batch)
        ours, theirs = (size / s for s in seconds)
        print(f"{size:,} studies stored, gateway {ours:.0f}/s, stock {theirs:.0f}/s", flush=True)

    def _batches(self, size: int, folder: Path) -> list[Path]:
        batches = []
        for part in range(ASSOCIATIONS):
            count = min(EACH, size - len(self.stored))
            if count:
                batches.append(folder / f"batch-{part}")
                self.stored += write_studies(batches[-1], len(self.stored), count)
        return batches

    def restart(self) -> None:
        """End both and start them anew; what the gateway then does by itself is waited for."""
        self.gateway.stop()
        self.peer.stop()
        self.peer.start()
        self.gateway.start()
        status = self.gateway.argonath("status")
        assert FLAT in status, f"the planner's statistics are not active:\n{status}"
        gateways.wait_until_idle(self.gateway)

    def asked(self) -> list[Instance]:
        """Those of the stored ones that are asked for."""
        return [self.stored[len(self.stored) * n // ASKED] for n in range(ASKED)]


def run(options: Namespace, folder: Path) -> None:
    """Fill both archives, measure, print."""
    begin = time.monotonic()
    archives: list[Archive] = []
    with ExitStack() as stack:
        for size in options.studies:
            peer = stack.enter_context(stock.running(folder / f"stock-{size}"))
            gateway = stack.enter_context(gateways.running(stable_after_s=_A_DAY))
            archives.append(Archive(gateway, peer))
            archives[-1].fill(size, folder)
        for archive in archives:
            archive.restart()
        print(f"Ready to be asked after {(time.monotonic() - begin) / 60:.1f} minutes", flush=True)
        table.head(*(f"{size:,} studies" for size in options.studies), "cost")
        read("WADO-RS instance", archives, "path", DICOM)
        read("QIDO by PatientID", archives, "by_patient", JSON)


def read(title: str, archives: list[Archive], path: str, accept: str) -> None:
    """Two rows: the gateway's times in both archives, and stock Orthanc's."""
    sides = []
    for archive in archives:
        (key,) = gateways.make_keys(archive.gateway, [TENANT])
        paths = [getattr(instance, path) for instance in archive.asked()]
        sides.append((archive.ours, [Ask(path, key, accept) for path in paths]))
        sides.append((archive.theirs, [Ask(path, accept=accept) for path in paths]))
    in_turn(*sides)  # not counted
    took = in_turn(*((target, asks * TURNS) for target, asks in sides))
    table.milliseconds(f"{title}, gateway, ms", took[0], took[2], "<= 1.5")
    table.milliseconds(f"{title}, stock, ms", took[1], took[3], "")
