"""How long a key opens anything after it was revoked, while it is in use."""

from __future__ import annotations

import statistics
import threading
import time

import httpx

from gateway.identity import hash_token
from tests.acceptance.conftest import RunningGateway
from tests.bench import table
from tests.bench.gateways import make_keys, owner

READERS = 6
_LOOK_ON_S = 1.5  # after the first refusal: nothing may be let in again


def measure(gateway: RunningGateway, tenant: str, path: str, rounds: int = 5) -> None:
    """Print the time from the revocation in the database to the last request that was let in."""
    times = [_once(gateway, tenant, path) * 1e3 for _ in range(rounds)]
    title, wanted = f"Key revoked under {READERS} readers, last request let in after", "< 1000"
    print(
        f"{title}: {statistics.median(times):.0f} ms "
        f"(longest of {rounds}: {max(times):.0f} ms)  wanted {wanted} ms",
        flush=True,
    )
    table.judge(title, max(times), wanted)


def _once(gateway: RunningGateway, tenant: str, path: str) -> float:
    """Seconds; the clock starts before the revocation is committed, so it is rather more."""
    (key,) = make_keys(gateway, [tenant])
    stop, refused = threading.Event(), threading.Event()
    allowed: list[float] = []

    def read() -> None:
        with httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
            while not stop.is_set():
                sent = time.time()
                status = client.get(gateway.url + path).status_code
                if status == 200:
                    allowed.append(sent)
                elif status == 401:
                    refused.set()

    readers = [threading.Thread(target=read) for _ in range(READERS)]
    for reader in readers:
        reader.start()
    try:
        gateway.wait_until(lambda: len(allowed) > 200)
        gateway.argonath("api-key", "revoke", key)
        assert refused.wait(30), "a revoked key was never refused"
        time.sleep(_LOOK_ON_S)
    finally:
        stop.set()
        for reader in readers:
            reader.join(30)
    with owner(gateway) as session:
        row = session.execute(
            "SELECT extract(epoch FROM revoked_at)::float8 FROM credential WHERE token_hash = %s",
            [hash_token(key)],
        ).fetchone()
    assert row is not None
    return max(0.0, max(allowed) - float(row[0]))
