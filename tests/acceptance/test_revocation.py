"""Revoking a key while it is in use."""

from __future__ import annotations

import re
import threading
import time
from contextlib import closing

import httpx

from tests.acceptance.browsing import client_of
from tests.acceptance.conftest import RunningGateway


def test_a_key_revoked_under_load_opens_nothing_a_second_later(gateway: RunningGateway) -> None:
    key = gateway.argonath("api-key", "create", "--tenant", "north", "--label", "under load")
    number = re.search(r"(?m)^(\d+) .*under load$", gateway.argonath("api-key", "list"))
    assert number is not None
    stop, allowed, refused = threading.Event(), [time.monotonic()], [0]

    def hammer() -> None:
        with httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
            while not stop.is_set():
                sent = time.monotonic()
                status = client.get(f"{gateway.url}/dicom-web/studies?limit=1").status_code
                if status == 200:
                    allowed.append(sent)
                refused[0] += status == 401

    threads = [threading.Thread(target=hammer) for _ in range(6)]
    for thread in threads:
        thread.start()
    try:
        gateway.wait_until(lambda: len(allowed) > 200)
        admin = client_of(gateway, gateway.admin_email, gateway.admin_password)
        with closing(admin):
            token = re.search(r'name="csrf_token" value="([^"]+)"', page(admin, "/enter"))
            assert token is not None
            filled = {"csrf_token": token[1], "tenant": "north"}
            assert admin.post("/enter", data=filled).status_code == 303
            answer = admin.post(f"/keys/{number[1]}/revoke", data=filled)
        assert answer.status_code == 303
        revoked = time.monotonic()
        time.sleep(2)
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    # A request that was sent a second after the revocation was answered with 401.
    assert max(allowed) - revoked < 1.0
    assert refused[0] > 20


def page(client: httpx.Client, path: str) -> str:
    return client.get(path, headers={"Accept": "text/html"}).text
