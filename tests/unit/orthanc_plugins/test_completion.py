import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from gateway import studies
from gateway.errors import DatabaseUnavailable
from orthanc_plugins.arrivals import Arrivals
from orthanc_plugins.completion import Completion


class World:
    """PostgreSQL and Orthanc, as far as completion sees them."""

    def __init__(self) -> None:
        self.arrivals = Arrivals()
        self.quiet_studies = [("1.2", "study-a", 1)]
        self.claims: list[tuple[str, str]] = []
        self.held = True
        self.database_is_up = True
        self.done: list[str] = []
        self.now = 0.0
        self.owed: list[str] = []
        self.completion = Completion(
            self,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            self.arrivals,
            stable_after_s=10,
            claim_expires_s=600,
            unlabelled=lambda _: None,
            count_owed=lambda: self.done.extend(self.owed),
            beat=lambda: None,
            clock=lambda: self.now,
        )

    @contextmanager
    def system_session(self, _reason: str) -> Iterator["World"]:
        if not self.database_is_up:
            raise DatabaseUnavailable
        yield self

    def execute(self, statement: str, _parameters: object = None) -> "World":
        if statement.startswith("DELETE"):
            self.done.append("expired")
        return self

    def fetchall(self) -> list[Any]:
        return []

    def RestApiPut(self, uri: str, _body: bytes) -> bytes:
        self.done.append(f"label {uri}")
        return b""

    def RestApiPost(self, _uri: str, body: str) -> bytes:
        if not self.held:
            return b"[]"
        if json.loads(body)["Level"] == "Study":
            return json.dumps([{"ID": "study-a", "Series": ["s1", "s2"]}]).encode()
        return json.dumps(
            [
                {"MainDicomTags": {"Modality": "CT"}, "Instances": ["i1", "i2"]},
                {"MainDicomTags": {"Modality": "SR"}, "Instances": ["i3"]},
            ]
        ).encode()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()

    def mark_stable(_session: object, uid: str, arrival: int, **told: Any) -> bool:
        counts = f"{told['series_count']} {told['instance_count']} {told['modalities']}"
        world.done.append(f"stable {uid} {arrival} {counts}")
        return True

    monkeypatch.setattr(studies, "quiet", lambda *_, **__: world.quiet_studies)
    monkeypatch.setattr(studies, "expired_claims", lambda *_, **__: world.claims)
    monkeypatch.setattr(studies, "mark_stable", mark_stable)
    monkeypatch.setattr(studies, "find", lambda *_: None)
    monkeypatch.setattr(studies, "forget", lambda _, uid: world.done.append(f"forget {uid}"))
    monkeypatch.setattr(studies, "mark_receiving", lambda _, uid: world.done.append(f"on {uid}"))
    monkeypatch.setattr(studies, "record_progress", lambda _, p: world.done.append(f"told {p}"))
    return world


def test_a_quiet_study_becomes_stable_with_what_orthanc_holds_of_it(world: World) -> None:
    world.completion.step()
    assert world.done == ["stable 1.2 1 2 3 ['CT', 'SR']"]


def test_a_study_that_received_something_since_it_was_quiet_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def quiet(*_: object, **__: object) -> list[tuple[str, str, int]]:
        world.arrivals.open("1.2", "north")
        return world.quiet_studies

    monkeypatch.setattr(studies, "quiet", quiet)
    world.completion.step()
    assert world.done == []
    assert world.arrivals.is_open("1.2")


def test_a_study_is_closed_before_it_is_counted(world: World) -> None:
    world.arrivals.open("1.2", "north", instances=0)
    world.completion.step()
    assert not world.arrivals.count("1.2")


def test_progress_is_told_before_quiet_studies_are_asked_for(world: World) -> None:
    world.arrivals.open("1.3", "north")
    world.completion.step()
    assert world.done[0] == "told [('1.3', 1)]"


def test_progress_survives_a_dead_database(world: World) -> None:
    world.arrivals.open("1.2", "north")
    world.database_is_up = False
    with pytest.raises(DatabaseUnavailable):
        world.completion.step()
    assert world.arrivals.take_progress() == [("1.2", 1)]


def test_a_study_that_orthanc_does_not_hold_is_forgotten(world: World) -> None:
    world.held = False
    world.completion.step()
    assert world.done == ["forget study-a"]


def test_a_claim_expires_unless_something_of_it_was_stored(world: World) -> None:
    world.quiet_studies, world.claims = [], [("1.4", "study-b")]
    world.completion.step()
    assert world.done == ["on 1.4"] * 2  # at the start and as its time is over
    world.done, world.held, world.now = [], False, 100
    world.completion.step()
    assert world.done == ["expired"]


def test_what_is_owed_is_counted_before_quiet_studies_are_asked_for(world: World) -> None:
    world.owed = ["owed"]
    world.completion.step()
    assert world.done == ["owed", "stable 1.2 1 2 3 ['CT', 'SR']"]
