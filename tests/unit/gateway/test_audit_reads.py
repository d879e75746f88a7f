"""Reads are counted for a minute, refusals are written at once, and nothing goes silently."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from gateway import correlation
from gateway.audit import Record
from gateway.audit.reads import BATCH, WINDOW_S, Read, Reads
from gateway.errors import DatabaseUnavailable

NURSE = Read("nurse", "north", "10.0.0.1", "read-study", "study 1.2")


class World:
    """A clock that is turned by hand, and a database that can be away."""

    def __init__(self, at_most: int = 100) -> None:
        self.time = 1_000_000.0
        self.written: list[Record] = []
        self.batches: list[int] = []
        self.away = False
        self.reads = Reads(
            self.write, at_most=at_most, clock=lambda: self.time, now=lambda: self.time
        )

    def write(self, records: Sequence[Record]) -> None:
        if self.away:
            raise DatabaseUnavailable
        self.written += records
        self.batches.append(len(records))

    def after(self, seconds: float) -> list[Record]:
        """What the beat after `seconds` writes."""
        self.time += seconds
        before = len(self.written)
        self.reads.flush()
        return self.written[before:]


@pytest.fixture
def world() -> World:
    return World()


def test_the_first_read_is_written_at_the_next_beat(world: World) -> None:
    world.reads.note(NURSE, "metadata", "1.2.3")
    (record,) = world.after(0.25)
    assert (record.actor, record.tenant_id, record.origin) == ("nurse", "north", "10.0.0.1")
    assert (record.action, record.resource, record.verdict) == (
        "read-study", "study 1.2", "allowed",
    )  # fmt: skip
    assert record.detail == "metadata; series 1.2.3"


def test_the_reads_of_the_following_minute_are_one_record_with_their_number(world: World) -> None:
    world.reads.note(NURSE, "metadata")
    world.after(0.25)
    for _ in range(200):
        world.reads.note(NURSE, "frames", "1.2.3")
    world.reads.note(NURSE, "frames", "1.2.4")
    assert world.after(WINDOW_S / 2) == []
    (record,) = world.after(WINDOW_S / 2)
    assert record.detail == ("201 frames; series 1.2.3, 1.2.4; from 13:46:40Z to 13:47:40Z")


def test_who_reads_no_more_leaves_nothing_in_memory(world: World) -> None:
    world.reads.note(NURSE, "metadata")
    world.after(0.25)
    assert world.after(WINDOW_S) == []
    assert not world.reads._counts


def test_another_person_address_study_or_verdict_is_another_record(world: World) -> None:
    others = {
        "actor": "doctor",
        "origin": "10.0.0.2",
        "resource": "study 1.3",
        "tenant_id": "south",
    }
    for name, value in others.items():
        world.reads.note(NURSE._replace(**{name: value}), "metadata")
    world.reads.note(NURSE, "metadata")
    assert len(world.after(0.25)) == 5


def test_a_record_has_the_id_of_the_first_request_that_it_counts(world: World) -> None:
    identifiers = []
    for _ in range(2):
        with correlation.operation() as identifier:
            world.reads.note(NURSE, "metadata")
            identifiers.append(identifier)
    assert world.after(0.25)[0].correlation == identifiers[0]
    with correlation.operation() as identifier:
        world.reads.note(NURSE, "metadata")
    assert world.after(WINDOW_S)[0].correlation == identifier


def test_a_refusal_is_written_before_the_answer_and_its_repeats_are_counted(world: World) -> None:
    denied = NURSE._replace(verdict="denied")
    world.reads.deny(denied, "metadata")
    assert [record.verdict for record in world.written] == ["denied"]
    for _ in range(3):
        world.reads.deny(denied, "frames")
    assert len(world.written) == 1
    assert world.after(WINDOW_S)[0].detail.startswith("3 frames;")


def test_a_refusal_that_could_not_be_written_is_written_later(world: World) -> None:
    world.away = True
    world.reads.deny(NURSE._replace(verdict="denied"), "metadata")
    world.away = False
    assert [record.verdict for record in world.after(1)] == ["denied"]


def test_what_cannot_be_written_waits_and_comes_in_order(world: World) -> None:
    world.away = True
    for number in range(3):
        world.reads.note(NURSE._replace(resource=f"study {number}"), "metadata")
        with pytest.raises(DatabaseUnavailable):
            world.after(1)
    world.away = False
    world.after(1)
    world.after(1)
    assert [record.resource for record in world.written] == ["study 0", "study 1", "study 2"]


def test_memory_is_bounded_and_what_was_lost_is_told() -> None:
    world = World(at_most=10)
    world.away = True
    for minute in range(5):
        for number in range(30):
            world.reads.note(NURSE._replace(resource=f"study {minute} {number}"), "metadata")
        with pytest.raises(DatabaseUnavailable):
            world.after(WINDOW_S)
    assert len(world.reads._counts) + len(world.reads._unwritten) <= 20
    world.away = False
    world.after(1)
    (told,) = [record for record in world.written if record.action == "audit.lost-reads"]
    assert told.detail.startswith("140 reads could not be recorded")


def test_a_batch_is_of_500_at_most() -> None:
    world = World(at_most=10_000)
    for number in range(BATCH + 1):
        world.reads.note(NURSE._replace(resource=f"study {number}"), "metadata")
    world.after(0.25)
    assert world.batches == [BATCH, 1]


def test_many_series_and_ways_are_named_as_more(world: World) -> None:
    for number in range(20):
        world.reads.note(NURSE, f"way {number}", f"1.2.{number}")
    (record,) = world.after(0.25)
    assert record.detail.count("way") == 8
    assert "12 others" in record.detail
    assert record.detail.endswith("1.2.7 and more")


def test_a_clean_stop_writes_what_waits(world: World) -> None:
    written = threading.Event()
    world.reads.start(written.set)
    world.reads.note(NURSE, "metadata")
    assert written.wait(5)
    world.reads.note(NURSE, "frames")
    world.reads.close()
    assert sum("frames" in record.detail for record in world.written) == 1
    assert sum("metadata" in record.detail for record in world.written) == 1


def test_the_writer_lives_through_a_database_that_is_away(world: World) -> None:
    world.away = True
    world.reads.start()
    world.reads.note(NURSE, "metadata")
    threading.Event().wait(0.5)
    world.away = False
    world.reads.close()
    assert [record.detail for record in world.written] == ["metadata"]
