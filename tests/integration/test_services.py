"""The service host: a process for each service, which is restarted, seen, and stops in time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from gateway.plugins import Extension, discover
from gateway.service import silent
from gateway.settings import Settings

CHECKOUT = Path(__file__).resolve().parents[2]
SERVICE = """
import os
from pathlib import Path
from gateway.hookspecs import hookimpl

@hookimpl
def run(context, stop):
    with Path(r"{log}").open("a") as log:
        log.write(f"{name} {{os.getpid()}}\\n")
    {body}
"""


@pytest.fixture
def host(tmp_path: Path, settings: Settings) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts the service host with extensions of the test: their names and what `run` does."""
    started: list[subprocess.Popen[bytes]] = []
    log = tmp_path / "started"

    def start(**bodies: str) -> subprocess.Popen[bytes]:
        for name, body in bodies.items():
            package = tmp_path / "packages" / name
            package.mkdir(parents=True)
            (package / "__init__.py").write_text(f'"""{name}."""\n')
            source = SERVICE.format(log=log, name=name, body=body)
            (package / "service.py").write_text(source)
        points = "\n".join(f"{name} = {name}" for name in bodies)
        info = tmp_path / "packages" / "test-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: test\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[argonath.extensions]\n{points}\n")
        environment = {
            **os.environ,
            "PYTHONPATH": f"{tmp_path / 'packages'}:{os.environ['PYTHONPATH']}",
            "ARGONATH_DATABASE_URL": settings.database_url,
            "ARGONATH_REDIS_URL": settings.redis_url,
            "ARGONATH_BLOCKED_EXTENSIONS": ",".join(e.name for e in discover()),
        }
        output = (tmp_path / "host.log").open("wb")
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.service"],
            env=environment, cwd=CHECKOUT, stdout=output, stderr=output,
        )  # fmt: skip
        output.close()
        started.append(process)
        return process

    yield start
    for process in started:
        process.terminate()
        process.wait(10)


def starts(tmp_path: Path, name: str) -> list[int]:
    """The process ids under which a service was started."""
    log = tmp_path / "started"
    lines = log.read_text().splitlines() if log.exists() else []
    return [int(line.split()[1]) for line in lines if line.startswith(f"{name} ")]


def until(holds: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end or holds(), f"not within {seconds} s"
        time.sleep(0.1)


def extension(name: str) -> Extension:
    return Extension(name, name, name, "0", ("service",))


def test_a_service_that_is_killed_is_started_again_and_says_that_it_lives(
    host: Callable[..., subprocess.Popen[bytes]], tmp_path: Path, settings: Settings
) -> None:
    host(watcher="stop.wait()")
    connection = redis.Redis.from_url(settings.redis_url)
    until(lambda: silent(connection, [extension("watcher")]) == [])
    assert silent(connection, [extension("other")]) == ["other"]
    until(lambda: starts(tmp_path, "watcher"))
    os.kill(starts(tmp_path, "watcher")[0], signal.SIGKILL)
    until(lambda: len(starts(tmp_path, "watcher")) == 2)
    connection.close()


def test_a_service_that_breaks_or_ends_stops_no_other(
    host: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    host(good="stop.wait()", breaks="raise ValueError('Doe^Jane')", ends="pass")
    until(lambda: len(starts(tmp_path, "breaks")) >= 2 and len(starts(tmp_path, "ends")) >= 2)
    assert len(starts(tmp_path, "good")) == 1
    log = (tmp_path / "host.log").read_text()
    assert "ended by itself" in log
    assert "Doe^Jane" not in log


def test_the_host_stops_in_time_also_with_a_service_that_does_not(
    host: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    process = host(good="stop.wait()", deaf="import time; time.sleep(60)")
    until(lambda: starts(tmp_path, "good") and starts(tmp_path, "deaf"))
    process.terminate()
    assert process.wait(10) == 0


def test_without_services_the_host_ends_well(
    host: Callable[..., subprocess.Popen[bytes]],
) -> None:
    assert host().wait(30) == 0
