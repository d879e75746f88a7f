"""A start that cannot succeed ends with the reason and the cure, and leaves nothing running."""

from __future__ import annotations

import subprocess
import sys

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.acceptance.conftest import CHECKOUT, RunningGateway, make_gateway


def test_a_migration_that_was_changed_after_it_ran_stops_the_start_with_the_cure() -> None:
    gateway = make_gateway(demo="0")
    name = "kernel/0001_kernel.sql"
    server = f"postgresql://argonath@/postgres?host={gateway.data}/run/postgresql"
    with psycopg.connect(make_conninfo(server, dbname="argonath")) as owner:
        owner.execute("UPDATE migration SET checksum = 'of another text' WHERE name = %s", [name])
    gateway.stop()

    done = start(gateway)
    assert done.returncode == 1
    assert done.stdout.count(f"{name} was changed after it ran") == 1
    assert "put its file back" in done.stdout
    assert "Stopped" in done.stdout

    with pytest.raises(subprocess.CalledProcessError) as refused:
        gateway.argonath("tenant", "list")
    assert "make run" in refused.value.stderr


def start(gateway: RunningGateway) -> subprocess.CompletedProcess[str]:
    """As `make run` does, to its end."""
    return subprocess.run(
        [sys.executable, CHECKOUT / "docker/start/gateway"],
        env=gateway.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
