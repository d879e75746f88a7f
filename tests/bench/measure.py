"""What is timed, alike for the gateway and its peers. All times are seconds of wall clock."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx

DICOM = 'multipart/related; type="application/dicom"; transfer-syntax=*'
FRAMES = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
JSON = "application/dicom+json"


@dataclass(frozen=True)
class Target:
    """Something that stores and answers."""

    name: str
    dicom_port: int
    url: str
    nodelay: bool = True
    called: str = "NORTH"


@dataclass(frozen=True)
class Ask:
    """One GET; without a key by nobody, which stock Orthanc does not mind."""

    path: str
    key: str = ""
    accept: str = JSON


def c_store(target: Target, batches: Sequence[Path]) -> float:
    """Send each folder by an association of its own, all at once."""
    environment = {k: v for k, v in os.environ.items() if k != "TCP_NODELAY"}
    if target.nodelay:
        environment["TCP_NODELAY"] = "1"
    begin = time.perf_counter()
    senders = [
        subprocess.Popen(
            ["/usr/bin/storescu", "-aec", target.called, "-aet", "BENCH", "+sd", "127.0.0.1",
             str(target.dicom_port), folder],
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        for folder in batches
    ]  # fmt: skip
    codes = [sender.wait() for sender in senders]
    took = time.perf_counter() - begin
    assert codes == [0] * len(batches), f"{target.name}: storescu ended with {codes}"
    return took


def in_turn(*sides: tuple[Target, Sequence[Ask]]) -> list[float]:
    """Median seconds of a request to each; they take turns, and must answer as many rows."""
    took: list[list[float]] = [[] for _ in sides]
    order = list(range(len(sides)))
    with ExitStack() as stack:
        clients = [
            stack.enter_context(httpx.Client(base_url=target.url, timeout=60))
            for target, _ in sides
        ]
        for asks in zip(*(asks for _, asks in sides), strict=True):
            rows = set()
            for side in order:
                seconds, number = _get(clients[side], asks[side])
                took[side].append(seconds)
                rows.add(number)
            assert len(rows) == 1, f"{asks[0].path}: {rows} rows are no equal work"
            assert rows != {0}, f"{asks[0].path}: nothing was found"
            order = order[1:] + order[:1]
    return [statistics.median(times) for times in took]


def _get(client: httpx.Client, ask: Ask) -> tuple[float, int]:
    """Seconds, and the rows of the answer (1 of an object)."""
    headers = {"Accept": ask.accept}
    if ask.key:
        headers["Authorization"] = f"Bearer {ask.key}"
    begin = time.perf_counter()
    answer = client.get(ask.path, headers=headers)
    took = time.perf_counter() - begin
    assert answer.status_code == 200, f"{client.base_url}{ask.path}: {answer.status_code}"
    return took, len(answer.json()) if ask.accept == JSON else 1
