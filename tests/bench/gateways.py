"""The gateway that is measured: tenants and keys in bulk, and when it has nothing left to do."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from gateway.identity import KEY_PREFIX, hash_token
from tests.acceptance.conftest import RunningGateway, make_gateway

_IDLE = 0.2  # of a core


@contextmanager
def running(**settings: str) -> Iterator[RunningGateway]:
    """One that runs as `make run` starts it; after a failure its data and logs stay."""
    gateway = make_gateway(RunningGateway, **settings)
    try:
        yield gateway
    finally:
        gateway.stop()
    shutil.rmtree(gateway.data)


def owner(gateway: RunningGateway) -> psycopg.Connection:
    """A connection as the owner of the gateway's tables."""
    return psycopg.connect(f"host={gateway.data}/run/postgresql user=argonath dbname=argonath")


def make_tenants(gateway: RunningGateway, count: int, probe: Path) -> list[str]:
    """Tenants `bench-0` and so on, whose AE titles are in capitals; the last stores `probe`.

    Returns when the node knows them.
    """
    names = [f"bench-{number}" for number in range(count)]
    with owner(gateway) as session:
        session.execute(
            "INSERT INTO tenant SELECT name, name FROM unnest(%s::text[]) AS name", [names]
        )
        session.execute(
            "INSERT INTO called_ae_title SELECT upper(name), name FROM unnest(%s::text[]) AS name",
            [names],
        )
    last = names[-1].upper()
    gateway.wait_until(lambda: gateway.storescu(probe, called=last).returncode == 0)
    return names


def make_keys(gateway: RunningGateway, tenants: Sequence[str]) -> list[str]:
    """A new API key for each; a tenant that is named twice gets two."""
    keys = [KEY_PREFIX + secrets.token_urlsafe(32) for _ in tenants]
    with owner(gateway) as session:
        session.execute(
            "INSERT INTO credential (kind, token_hash, tenant_id, role) "
            "SELECT 'api-key', hash, name, 'member' "
            "FROM unnest(%s::bytea[], %s::text[]) AS made (hash, name)",
            [[hash_token(key) for key in keys], list(tenants)],
        )
    return keys


def wait_until_stable(gateway: RunningGateway) -> None:
    """Until all that was stored has been worked on, and the gateway is idle."""
    gateway.wait_until(lambda: _nothing_left(gateway), 900)
    wait_until_idle(gateway)


def wait_until_idle(gateway: RunningGateway) -> None:
    """Until hardly anything is computed: what is measured then is alone."""
    gateway.wait_until(lambda: _load(gateway) < _IDLE, 600)


def _nothing_left(gateway: RunningGateway) -> bool:
    with owner(gateway) as session:
        row = session.execute(
            "SELECT (SELECT count(*) FROM study WHERE state <> 'stable') "
            "+ (SELECT count(*) FROM outbox WHERE dispatched_at IS NULL) "
            "+ (SELECT count(*) FROM job WHERE state IN ('waiting', 'running'))"
        ).fetchone()
    return row == (0,)


def _load(gateway: RunningGateway) -> float:
    """Cores that the gateway's processes keep busy, over four seconds."""
    begin, ticks = time.monotonic(), _ticks(gateway)
    time.sleep(4)
    return (_ticks(gateway) - ticks) / 100 / (time.monotonic() - begin)


def _ticks(gateway: RunningGateway) -> int:
    """Hundredths of a second of processor time."""
    total = 0
    for pid in _family(gateway):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total


def memory_mb(gateway: RunningGateway) -> int:
    """Proportional set size of everything that belongs to the gateway, in MB."""
    total = 0
    for pid in _family(gateway):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total // 1024


def _family(gateway: RunningGateway) -> set[int]:
    supervisor = int((gateway.data / "run/supervisord.pid").read_text())
    family = {supervisor}
    pairs = subprocess.run(
        ["/usr/bin/ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for _ in range(5):
        family |= {int(p.split()[0]) for p in pairs if int(p.split()[1]) in family}
    return family
