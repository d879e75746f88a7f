"""What is timed, alike for the gateway and its peers. All times are seconds of wall clock."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
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


def get(target: Target, path: str, *, times: int, accept: str) -> float:
    """The fastest half's mean of `times` GETs over one connection."""
    headers = {"Accept": accept}
    if target.key:
        headers["Authorization"] = f"Bearer {target.key}"
    took = []
    with httpx.Client(base_url=target.url, headers=headers, timeout=60) as client:
        for _ in range(times):
            begin = time.perf_counter()
            answer = client.get(path)
            took.append(time.perf_counter() - begin)
            assert answer.status_code == 200, f"{target.name}: {path}: {answer.status_code}"
    took.sort()
    fast = took[: max(1, times // 2)]
    return sum(fast) / len(fast)
