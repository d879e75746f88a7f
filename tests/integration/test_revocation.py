"""A key is worthless on every node that has heard of it, however busy they are."""

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
from tests.integration.worker_host import until

NODES = 3


@dataclass
class BusyNode:
    """What a node knows of keys, asked without pause by two clients."""

    principals: Principals
    token: str
    stop: threading.Event = field(default_factory=threading.Event)
    told: threading.Event = field(default_factory=threading.Event)
    accepted: int = 0
    asked_when_told: int = 0
    accepted_when_told: int = 0

    def hammer(self) -> None:
        """Ask until told to stop."""
        while not self.stop.is_set():
            was_told = self.told.is_set()
            is_open = bool(self.principals.of({"authorization": f"Bearer {self.token}"}))
            self.accepted += is_open
            self.asked_when_told += was_told
            self.accepted_when_told += was_told and is_open
            time.sleep(0)  # the listener needs its turn, as it has in Orthanc

    def hear(self) -> None:
        """Something has changed."""
        self.principals.forget()
        self.told.set()


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
                    lambda *_, node=node: node.hear(),
                ),
                kwargs={"connected": lambda: connected.wait(30) and None, "stop": node.stop},
            )
        )
        threads.extend(threading.Thread(target=node.hammer) for _ in range(2))
    for thread in threads:
        thread.start()
    connected.wait(30)
    yield found
    for node in found:
        node.stop.set()
    for thread in threads:
        thread.join(10)


@pytest.mark.parametrize("deed", ["revoke", "expire"])
def test_a_key_that_is_taken_away_opens_nothing_on_any_busy_node_that_was_told(
    nodes: list[BusyNode], database: Database, key: str, deed: str
) -> None:
    until(lambda: all(node.accepted > 100 for node in nodes))
    with database.system_session("test") as session:
        if deed == "revoke":
            identity.revoke_api_key(session, token=key)
        else:
            session.execute("UPDATE credential SET expires_at = now()")
    until(lambda: all(node.asked_when_told > 1000 for node in nodes))
    assert [node.accepted_when_told for node in nodes] == [0] * NODES


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
