"""Redis or PostgreSQL is lost in the middle of a delivery: it completes, nothing comes twice."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from redis import Redis

from gateway.db import Database
from gateway.settings import Settings
from tests.integration.routing.conftest import FakeArchive, Receiver, make_file
from tests.integration.routing.test_forwarding import arrive, delivery, forward, state
from tests.integration.worker_host import WorkerHost, until


class OwnRedis:
    """A Redis that a test may kill; it keeps nothing."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "own-redis.sock"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", self.socket, "--save", ""],
            stdout=subprocess.DEVNULL,
        )
        until(self.socket.exists)

    def has_workers(self) -> bool:
        with Redis(unix_socket_path=str(self.socket)) as redis:
            return bool(redis.exists("rq:workers"))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.socket.unlink(missing_ok=True)


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[OwnRedis]:
    redis = OwnRedis(tmp_path)
    yield redis
    redis.kill()


@pytest.fixture
def settings(settings: Settings, own_redis: OwnRedis) -> Settings:
    return replace(settings, redis_url=f"unix://{own_redis.socket}")


def send_20_of_200(database: Database, archive: FakeArchive, receiver: Receiver) -> None:
    """20 of them; the receiver takes the others when it is told to go on."""
    archive.add(*(make_file(n) for n in range(200)))
    forward(database, receiver.port)
    receiver.hold_after(20)
    arrive(database)
    until(lambda: len(receiver.received) == 20)


def test_redis_is_killed_and_comes_back_empty(
    database: Database,
    archive: FakeArchive,
    receiver: Receiver,
    host: WorkerHost,
    own_redis: OwnRedis,
) -> None:
    send_20_of_200(database, archive, receiver)
    own_redis.kill()
    receiver.go_on()
    time.sleep(2)
    own_redis.start()
    until(lambda: state(database) == "delivered", 30)
    archive.add(make_file(900))
    arrive(database, 2)  # and the next one finds its way
    until(lambda: len(receiver.received) == 201, 30)
    assert set(receiver.received.values()) == {1}


def test_redis_is_not_there_when_a_study_arrives(
    database: Database,
    archive: FakeArchive,
    receiver: Receiver,
    host: WorkerHost,
    own_redis: OwnRedis,
) -> None:
    archive.add(make_file(1))
    forward(database, receiver.port)
    until(own_redis.has_workers, 60)
    own_redis.kill()
    arrive(database)
    time.sleep(2)
    own_redis.start()
    until(lambda: state(database) == "delivered", 30)
    assert set(receiver.received.values()) == {1}


def test_the_database_drops_every_connection(
    database: Database,
    archive: FakeArchive,
    receiver: Receiver,
    host: WorkerHost,
    owner_url: str,
) -> None:
    send_20_of_200(database, archive, receiver)
    with psycopg.connect(owner_url, autocommit=True) as connection:
        for taken in (20, 80, 140):
            receiver.hold_after(taken)
            until(lambda taken=taken: len(receiver.received) == taken, 60)
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE usename = 'argonath_app' AND datname = current_database()"
            )
    receiver.go_on()
    until(lambda: state(database) == "delivered", 60)
    found = delivery(database)
    assert found is not None
    assert found.delivered == len(receiver.received) == 200
    # An answer that came while the database was away is written down when it is back.
    assert set(receiver.received.values()) == {1}
