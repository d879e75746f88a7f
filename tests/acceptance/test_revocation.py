"""Revoking a key while it is in use."""

from __future__ import annotations

import re
import threading
import time
import uuid
from contextlib import closing

import httpx

from tests.acceptance.browsing import client_of
from tests.acceptance.conftest import RunningGateway
from tests.timing import soonest


def test_a_key_revoked_under_load_opens_nothing_a_second_later(gateway: RunningGateway) -> None:
    # A request that was sent a second after the revocation was answered with 401.
    assert soonest(lambda: last_allowed(gateway), 1.0) < 1.0


def last_allowed(gateway: RunningGateway) -> float:
    """How long after the revocation of a key a request was sent that it still let in, in s."""
    label = f"under load {uuid.uuid4().hex}"
    key = gateway.argonath("api-key", "create", "--tenant", "north", "--label", label)
    number = re.search(rf"(?m)^(\d+) .*{label}$", gateway.argonath("api-key", "list"))
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
        gateway.wait_until(lambda: refused[0] > 20)
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    return max(allowed) - revoked


def page(client: httpx.Client, path: str) -> str:
    return client.get(path, headers={"Accept": "text/html"}).text
