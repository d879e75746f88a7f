"""A key is worthless on every node within a second, however busy they are."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from gateway import db, identity
from gateway.bearer import Authenticator
from gateway.db import Database
from gateway.identity import Role
from gateway.settings import Settings
from orthanc_plugins.access import Principals

NODES = 3


@dataclass
class BusyNode:
    """What a node knows of keys, asked without pause by two clients."""

    principals: Principals
    token: str
    stop: threading.Event = field(default_factory=threading.Event)
    accepted: int = 0
    last_accepted: float = 0.0

    def hammer(self) -> None:
        """Ask until told to stop."""
        while not self.stop.is_set():
            if self.principals.of({"authorization": f"Bearer {self.token}"}):
                self.accepted += 1
                self.last_accepted = time.monotonic()
            time.sleep(0)  # the listener needs its turn, as it has in Orthanc


@pytest.fixture
def key(database: Database) -> str:
    with database.system_session("test") as session:
        return identity.create_api_key(session, "north", Role.VIEWER)


@pytest.fixture
def nodes(database: Database, settings: Settings, key: str) -> Iterator[list[BusyNode]]:
    """Three nodes that listen to the database as Orthanc's do."""
    found, threads, connected = [], [], threading.Barrier(NODES + 1)
    for _ in range(NODES):
        node = BusyNode(Principals(Authenticator.of(settings, database), "internal"), key)
        found.append(node)
        threads.append(
            threading.Thread(
                target=db.listen,
                args=(
                    settings.database_url,
                    ["argonath_credential"],
                    lambda *_, node=node: node.principals.forget(),
                ),
                kwargs={"connected": lambda: connected.wait(10) and None, "stop": node.stop},
            )
        )
        threads.extend(threading.Thread(target=node.hammer) for _ in range(2))
    for thread in threads:
        thread.start()
    connected.wait(10)
    yield found
    for node in found:
        node.stop.set()
    for thread in threads:
        thread.join(10)


@pytest.mark.parametrize("deed", ["revoke", "expire"])
def test_a_key_that_is_taken_away_opens_nothing_a_second_later_on_any_busy_node(
    nodes: list[BusyNode], database: Database, key: str, deed: str
) -> None:
    deadline = time.monotonic() + 10
    while not all(node.accepted > 100 for node in nodes):
        assert time.monotonic() < deadline, "the nodes never accepted the key"
        time.sleep(0.01)
    with database.system_session("test") as session:
        if deed == "revoke":
            identity.revoke_api_key(session, token=key)
        else:
            session.execute("UPDATE credential SET expires_at = now()")
    taken = time.monotonic()
    time.sleep(1.5)
    before = [node.accepted for node in nodes]
    time.sleep(0.3)
    assert [node.accepted for node in nodes] == before
    assert max(node.last_accepted for node in nodes) - taken < 1.0


def test_keys_are_listed_with_expiry_and_last_use_and_never_as_themselves(
    database: Database, key: str
) -> None:
    identity.authenticate(database, key)
    with database.system_session("test") as session:
        identity.create_api_key(session, "south", Role.VIEWER, label="other")
        (listed,) = identity.api_keys(session, "north")
        assert len(identity.api_keys(session)) == 2
    assert listed["last_used_at"] is not None
    assert listed["expires_at"] is None
    assert key not in str(listed)
