"""Prints the table of ratios. Options: --rounds N, --studies N."""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import psycopg

from tests.acceptance.conftest import RunningGateway, make_gateway
from tests.bench.files import write_series, write_studies
from tests.bench.measure import Target, c_store, get
from tests.bench.stock import StockOrthanc

WADO = 'multipart/related; type="application/dicom"; transfer-syntax=*'
SERIES = 60  # instances of each association: one series of a CT


def main() -> None:
    """Start the three, measure them in turn, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--studies", type=int, default=2000)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir="/data"))
    stock = StockOrthanc(folder / "tuned", tuned=True)
    untuned = StockOrthanc(folder / "untuned", tuned=False)
    gateway = make_gateway()
    try:
        key = gateway.argonath("api-key", "create", "--tenant", "north")
        ours = Target("Argonath", gateway.dicom_port, gateway.url, key=key)
        peer = Target("stock Orthanc, TCP_NODELAY=1", stock.dicom_port, stock.url)
        slow = Target("stock Orthanc", untuned.dicom_port, untuned.url, nodelay=False)
        files = folder / "files"
        write(ours, peer, slow, files, options.rounds)
        read(ours, peer, files, options.studies, lambda: settled(gateway))
        print(f"Resident memory of the gateway's processes: {memory_mb(gateway.data)} MB")
    finally:
        gateway.stop()
        stock.stop()
        untuned.stop()
        shutil.rmtree(folder)


def settled(gateway: RunningGateway) -> bool:
    """Whether nothing arrives and no job is left: reading is measured by itself."""
    with psycopg.connect(
        f"host={gateway.data}/run/postgresql user=argonath dbname=argonath"
    ) as owner:
        row = owner.execute(
            "SELECT (SELECT count(*) FROM study WHERE state <> 'stable') "
            "+ (SELECT count(*) FROM outbox WHERE dispatched_at IS NULL) "
            "+ (SELECT count(*) FROM job WHERE state IN ('waiting', 'running'))"
        ).fetchone()
    return row == (0,)


def write(ours: Target, peer: Target, slow: Target, folder: Path, rounds: int) -> None:
    """Storing, interleaved; a ratio above 1 means that the gateway is faster."""
    print(f"{'':<44}{'ours':>10}{'peer':>10}{'ratio':>8}  wanted")
    for associations in (1, 4):
        title = f"C-STORE 512 KB, {associations} association(s), inst/s"
        times: dict[str, list[float]] = {}
        for number in range(rounds):
            batches = []
            for part in range(associations):
                batch = folder / f"big-{associations}-{number}-{part}"
                write_series(batch, SERIES, side=512)
                batches.append(batch)
            for target in (ours, peer) if number % 2 else (peer, ours):
                rate = SERIES * associations / c_store(target, batches)
                times.setdefault(target.name, []).append(rate)
            if associations == 1:
                times.setdefault(slow.name, []).append(SERIES / c_store(slow, batches))
            for batch in batches:
                shutil.rmtree(batch)
        row(title, times[ours.name], times[peer.name], ">= 0.85")
        if slow.name in times:
            row("  the same against untuned stock", times[ours.name], times[slow.name], ">= 5")

    small = {ours.name: [], peer.name: []} | {}  # type: dict[str, list[float]]
    for number in range(rounds):
        batch = folder / f"small-{number}"
        write_series(batch, 400, side=32)
        for target in (ours, peer) if number % 2 else (peer, ours):
            small[target.name].append(400 / c_store(target, [batch]))
    row("C-STORE 2 KB, 1 association, inst/s", small[ours.name], small[peer.name], "")


def read(
    ours: Target,
    peer: Target,
    folder: Path,
    studies: int,
    settled: Callable[[], bool],
) -> None:
    """Reading, request by request in turn, when all that was stored has been worked on."""
    last = write_series(folder / "read", 4, side=512)
    write_studies(folder / "studies", studies)
    for target in (ours, peer):
        c_store(target, [folder / "read"])
        c_store(target, [folder / "studies"])
    RunningGateway.wait_until(settled, 240)
    instance = (
        f"/dicom-web/studies/{last.StudyInstanceUID}/series/{last.SeriesInstanceUID}"
        f"/instances/{last.SOPInstanceUID}"
    )
    reads: list[tuple[str, str, str, int, str]] = [
        ("WADO-RS instance 512 KB, per s", instance, WADO, 400, ">= 0.9"),
        (f"QIDO 100 of {studies} studies, per s", "/dicom-web/studies?limit=100",
         "application/dicom+json", 60, ">= 0.95"),
        ("QIDO by PatientID, per s", "/dicom-web/studies?PatientID=Q00042",
         "application/dicom+json", 200, ""),
    ]  # fmt: skip
    for title, path, accept, count, wanted in reads:
        seconds = get((peer, ours), path, times=count, accept=accept)
        row(title, [1 / seconds[ours.name]], [1 / seconds[peer.name]], wanted)


def row(title: str, ours: list[float], peer: list[float], wanted: str) -> None:
    """One line: medians and their ratio."""
    mine, theirs = statistics.median(ours), statistics.median(peer)
    print(f"{title:<44}{mine:>10.1f}{theirs:>10.1f}{mine / theirs:>8.2f}  {wanted}", flush=True)


def memory_mb(data: Path) -> int:
    """Proportional set size of everything that belongs to the gateway, in MB."""
    total = 0
    supervisor = int((data / "run/supervisord.pid").read_text())
    family = {supervisor}
    pairs = subprocess.run(
        ["/usr/bin/ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for _ in range(5):
        family |= {int(p.split()[0]) for p in pairs if int(p.split()[1]) in family}
    for pid in family:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total // 1024


if __name__ == "__main__":
    main()
