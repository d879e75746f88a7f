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


@dataclass(frozen=True)
class Target:
    """Something that stores and answers."""

    name: str
    dicom_port: int
    url: str
    nodelay: bool = True
    called: str = "NORTH"
    key: str = ""


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


def get(targets: Sequence[Target], path: str, *, times: int, accept: str) -> dict[str, float]:
    """Median seconds of a GET for each target; they take turns, request by request."""
    took: dict[str, list[float]] = {target.name: [] for target in targets}
    with ExitStack() as stack:
        clients = [
            (target, stack.enter_context(httpx.Client(base_url=target.url, timeout=60)))
            for target in targets
        ]
        for _ in range(times):
            for target, client in clients:
                headers = {"Accept": accept}
                if target.key:
                    headers["Authorization"] = f"Bearer {target.key}"
                begin = time.perf_counter()
                answer = client.get(path, headers=headers)
                took[target.name].append(time.perf_counter() - begin)
                assert answer.status_code == 200, f"{target.name}: {path}: {answer.status_code}"
    return {name: statistics.median(values) for name, values in took.items()}
