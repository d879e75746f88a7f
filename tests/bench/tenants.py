"""`make bench-tenants`: the cost of a request with few and with many tenants, in turns.

Both gateways hold the same studies, spread evenly over their tenants, and are asked for the same
ones by their owners' keys.
"""

from __future__ import annotations

import shutil
import statistics
from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from tests.acceptance.conftest import RunningGateway
from tests.bench import gateways, table
from tests.bench.files import Instance, studies, write_series
from tests.bench.measure import DICOM, JSON, Ask, Target, c_store, in_turn

ASKED = 200  # studies, evenly spread
TURNS = 3  # of reading each of them
SERIES = 300  # small instances of an association
_BOUNDARY = "argonath-bench"


@dataclass(frozen=True)
class Side:
    """A gateway, and for each of the studies that are asked for its owner and its owner's key."""

    gateway: RunningGateway
    target: Target
    owners: list[str]
    keys: Sequence[str]


def run(options: Namespace, folder: Path) -> None:
    """Start both, fill them, measure them in turn, print."""
    made = studies(0, options.studies)
    write_series(folder / "probe", 1, side=8)
    with ExitStack() as stack:
        few, many = (
            prepare(stack.enter_context(gateways.running()), count, made, folder / "probe/0.dcm")
            for count in options.tenants
        )
        for side in (few, many):
            gateways.wait_until_stable(side.gateway)
        asked = [instance for instance, _ in made[:: max(1, len(made) // ASKED)]]
        table.head(*(f"{count:,} tenants" for count in options.tenants), "cost")
        read(few, many, asked)
        write(few, many, folder, options.rounds)


def prepare(
    gateway: RunningGateway, tenants: int, made: Sequence[tuple[Instance, bytes]], probe: Path
) -> Side:
    """Make the tenants, give each of those that get a study a key, and store by it."""
    names = gateways.make_tenants(gateway, tenants, probe)
    owners = [names[number * tenants // len(made)] for number in range(len(made))]
    having = list(dict.fromkeys(owners))
    key_of = dict(zip(having, gateways.make_keys(gateway, having), strict=True))
    with httpx.Client(base_url=gateway.url, timeout=60) as client:
        for tenant, (_, content) in zip(owners, made, strict=True):
            stow(client, key_of[tenant], content)
    target = Target(f"{tenants:,} tenants", gateway.dicom_port, gateway.url)
    asked = owners[:: max(1, len(made) // ASKED)]
    return Side(gateway, target, asked, [key_of[tenant] for tenant in asked])


def stow(client: httpx.Client, key: str, content: bytes) -> None:
    """Store one object."""
    head = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    answer = client.post(
        "/dicom-web/studies",
        content=head + content + f"\r\n--{_BOUNDARY}--".encode(),
        headers={
            "Authorization": f"Bearer {key}",
            "Accept": "application/dicom+json",
            "Content-Type": (f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}'),
        },
    )
    assert answer.status_code == 200, f"STOW-RS: {answer.status_code}"


def read(few: Side, many: Side, asked: Sequence[Instance]) -> None:
    """Each study by its owner; the node has seen every key, or, at last, none."""
    compare("WADO-RS instance, ms", few, many, [(i.path, DICOM) for i in asked], TURNS)
    by_patient = [(instance.by_patient, JSON) for instance in asked]
    compare("QIDO by PatientID, ms", few, many, by_patient, TURNS)
    few, many = (
        replace(side, keys=gateways.make_keys(side.gateway, side.owners * TURNS))
        for side in (few, many)
    )
    compare("  the same with a key's first request, ms", few, many, by_patient * TURNS, 1)


def compare(
    title: str, few: Side, many: Side, asked: Sequence[tuple[str, str]], turns: int
) -> None:
    """One row; a first turn is not counted where there are several."""
    few_asks, many_asks = (
        [Ask(path, key, accept) for (path, accept), key in zip(asked, side.keys, strict=True)]
        for side in (few, many)
    )
    if turns > 1:
        in_turn((few.target, few_asks), (many.target, many_asks))
    small, large = in_turn((few.target, few_asks * turns), (many.target, many_asks * turns))
    table.milliseconds(title, small, large, "<= 1.2")


def write(few: Side, many: Side, folder: Path, rounds: int) -> None:
    """A series of small instances to one tenant of each, another in each round."""
    took: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        batch = folder / "batch"
        write_series(batch, SERIES, side=32)
        for index in (0, 1) if number % 2 else (1, 0):
            side = (few, many)[index]
            called = side.owners[number * 7 % len(side.owners)].upper()
            took[index].append(c_store(replace(side.target, called=called), [batch]) / SERIES)
        shutil.rmtree(batch)
    small, large = map(statistics.median, took)
    table.milliseconds("C-STORE of 2 KB, ms", small, large, "<= 1.2")
