"""What every kind of test may use: a private PostgreSQL and Redis, and data that may be absent."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import redis

SHARED_DATA = Path(os.environ.get("ARGONATH_TEST_DATA", "/nonexistent"))


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Conninfo (without a database) of a PostgreSQL of our own, as its superuser `argonath`."""
    folder = tmp_path_factory.mktemp("pg")
    data = folder / "data"
    binaries = Path("/usr/lib/postgresql/17/bin")
    subprocess.run(
        [binaries / "initdb", "-D", data, "-U", "argonath", "-A", "trust", "--no-sync"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    with _running(
        [binaries / "postgres", "-D", data, "-k", folder, "-h", "", "-c", "fsync=off"],
        folder / "postgres.log",
    ):
        url = f"host={folder} user=argonath"
        _until(lambda: psycopg.connect(f"{url} dbname=postgres").close(), psycopg.Error)
        yield url


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Redis of our own."""
    folder = tmp_path_factory.mktemp("redis")
    socket = folder / "redis.sock"
    with _running(
        ["redis-server", "--port", "0", "--unixsocket", socket, "--dir", folder],
        folder / "redis.log",
    ):
        url = f"unix://{socket}"
        _until(lambda: redis.Redis.from_url(url).ping(), redis.RedisError)
        yield url


@contextmanager
def _running(command: Sequence[object], log: Path) -> Iterator[None]:
    """A process that ends with the block."""
    with log.open("wb") as output:
        process = subprocess.Popen([str(word) for word in command], stdout=output, stderr=output)
        try:
            yield
        finally:
            process.terminate()
            process.wait(10)


def _until(probe: Callable[[], object], error: type[Exception], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            probe()
            return
        except error:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
