"""`make bench`: the gateway beside stock Orthanc, in turns; above 1 the gateway is faster."""

from __future__ import annotations

import shutil
from argparse import Namespace
from dataclasses import dataclass, replace
from pathlib import Path

from tests.acceptance.conftest import RunningGateway
from tests.bench import gateways, revocation, stock, table
from tests.bench.files import Instance, write_series, write_studies
from tests.bench.measure import DICOM, FRAMES, JSON, Ask, Target, c_store, in_turn

SERIES = 60  # instances of each association: one series of a CT
SMALL = 400
PAGE = 100  # studies of a QIDO answer


@dataclass(frozen=True)
class Asked:
    """Who asks for what: an instance of 512 KB, a small one, a page of all that is there."""

    tenant: str
    key: str
    large: Instance
    small: Instance
    page: int
    title: str


def run(options: Namespace, folder: Path) -> None:
    """Start the three, measure them in turn, print."""
    with (
        stock.running(folder / "tuned") as tuned,
        stock.running(folder / "untuned", tuned=False) as untuned,
        gateways.running() as gateway,
    ):
        ours = Target("Argonath", gateway.dicom_port, gateway.url)
        peer = Target("stock Orthanc, TCP_NODELAY=1", tuned.dicom_port, tuned.url)
        slow = Target("stock Orthanc", untuned.dicom_port, untuned.url, nodelay=False)
        table.head("gateway", "stock", "ratio")
        write(ours, peer, slow, folder, options.rounds)
        asked = fill(gateway, ours, peer, folder, options)
        gateways.wait_until_stable(gateway)
        read(ours, peer, asked)
        revocation.measure(gateway, asked.tenant, asked.small.by_patient)
        print(f"Resident memory of the gateway's processes: {gateways.memory_mb(gateway)} MB")


def write(ours: Target, peer: Target, slow: Target, folder: Path, rounds: int) -> None:
    """Storing, interleaved."""
    for associations in (1, 4):
        title = f"C-STORE 512 KB, {associations} association(s), inst/s"
        times = store(ours, peer, folder, rounds, associations, SERIES, 512)
        table.rates(title, times[ours.name], times[peer.name], ">= 0.9")
    times = store(ours, slow, folder, 2, 1, SERIES, 512)
    table.rates("  one against untuned stock", times[ours.name], times[slow.name], ">= 5")
    times = store(ours, peer, folder, rounds, 1, SMALL, 32)
    table.rates(
        "C-STORE 2 KB, 1 association, inst/s", times[ours.name], times[peer.name], ">= 0.75"
    )


def store(
    one: Target,
    other: Target,
    folder: Path,
    rounds: int,
    associations: int,
    count: int,
    side: int,
) -> dict[str, list[float]]:
    """Instances a second in each round, by target."""
    rates: dict[str, list[float]] = {one.name: [], other.name: []}
    for number in range(rounds):
        batches = [folder / f"batch-{part}" for part in range(associations)]
        for batch in batches:
            write_series(batch, count, side=side)
        for target in (one, other) if number % 2 else (other, one):
            rates[target.name].append(count * associations / c_store(target, batches))
        for batch in batches:
            shutil.rmtree(batch)
    return rates


def shares(studies: int, tenants: int) -> list[int]:
    """How many studies each tenant has: the first, who asks, more than a page; the rest alike."""
    first = min(PAGE * 3 // 2, studies - tenants + 1)
    rest = studies - first
    return [first] + [rest * (n + 1) // (tenants - 1) - rest * n // (tenants - 1)
                      for n in range(tenants - 1)]  # fmt: skip


def fill(
    gateway: RunningGateway, ours: Target, peer: Target, folder: Path, options: Namespace
) -> Asked:
    """Store the same studies in both."""
    large = write_series(folder / "large", 4, side=512)
    write_series(folder / "probe", 1, side=8)
    names = gateways.make_tenants(gateway, options.tenants, folder / "probe/0.dcm")
    c_store(replace(ours, called=names[0].upper()), [folder / "large"])
    c_store(peer, [folder / "large", folder / "probe"])
    small: list[Instance] = []
    counts = shares(options.studies, options.tenants)
    for name, count in zip(names, counts, strict=True):
        batch = folder / name
        small += write_studies(batch, len(small), count)
        for target in (replace(ours, called=name.upper()), peer):
            c_store(target, [batch])
    (key,) = gateways.make_keys(gateway, names[:1])
    title = f"{options.studies:,} studies in {options.tenants} tenants"
    return Asked(names[0], key, large, small[counts[0] // 2], min(PAGE, counts[0]), title)


def read(ours: Target, peer: Target, asked: Asked) -> None:
    """Reading, request by request in turn."""
    large, page = asked.large.path, asked.page
    for title, path, accept, count, wanted in (
        ("WADO-RS instance 512 KB, per s", large, DICOM, 400, ">= 0.95"),
        ("WADO-RS frame 512 KB, per s", f"{large}/frames/1", FRAMES, 400, ">= 0.9"),
        (f"QIDO {page} of {asked.title}, per s", f"/dicom-web/studies?limit={page}", JSON, 60,
         ">= 0.95"),
        ("QIDO by PatientID, per s", asked.small.by_patient, JSON, 200, ">= 0.95"),
    ):  # fmt: skip
        ask = Ask(path, asked.key, accept)
        mine, theirs = in_turn((ours, [ask] * count), (peer, [replace(ask, key="")] * count))
        table.rates(title, [1 / mine], [1 / theirs], wanted)
