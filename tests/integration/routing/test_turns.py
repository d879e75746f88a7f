"""Many deliveries and one destination: each has its turn, and none speaks for another."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from extensions.routing import causes, destinations, ledger, progress
from extensions.routing.ledger import Delivery, Filter
from extensions.routing.progress import Outcome
from gateway.actions import Subject
from gateway.archive import Reference
from gateway.db import Database, Session
from gateway.events import StudyStable, publish
from tests.integration.routing.conftest import STUDY, FakeArchive, Receiver, make_file
from tests.integration.routing.test_forwarding import forward
from tests.integration.worker_host import WorkerHost, until

UID = "1.2.3.4"


@pytest.fixture
def planned(database: Database) -> int:
    """A delivery of one instance."""
    forward(database, 1)
    instance = Reference(UID, "1.2.3", "1.2.840.10008.5.1.4.1.1.2")
    with database.tenant_session("north") as session:
        destination = destinations.named(session, "PACS")
        subject = Subject(STUDY, (instance,), "CT to PACS")
        delivery_id, _ = progress.plan(session, destination, subject)
    return delivery_id


def begin(database: Database, delivery_id: int) -> Delivery:
    """What a run knows that begins now."""
    with database.tenant_session("north") as session:
        progress.begin(session, delivery_id)
        return ledger.get_delivery(session, delivery_id)


def instance(database: Database, delivery_id: int) -> ledger.Instance:
    with database.tenant_session("north") as session:
        return ledger.instances_of(session, delivery_id)[0]


def test_deliveries_to_one_destination_follow_each_other_without_a_pause(
    database: Database, archive: FakeArchive, receiver: Receiver, host: WorkerHost
) -> None:
    archive.add(*(make_file(n) for n in range(20)))
    forward(database, receiver.port)
    with database.tenant_session("north") as session:
        for number in range(8):
            publish(session, "north", StudyStable(f"1.2.{number}", 1))

    def delivered() -> int:
        with database.tenant_session("north") as session:
            return len(ledger.list_deliveries(session, Filter(state="delivered")))

    until(lambda: delivered() == 8, 25)  # a turn that nobody announces comes after 30 s
    assert set(receiver.received.values()) == {8}


def test_a_run_that_was_taken_over_sends_nothing_more(database: Database, planned: int) -> None:
    first = begin(database, planned)
    second = begin(database, planned)
    with database.tenant_session("north") as session:
        assert not progress.sending(session, first, [UID])
        assert progress.sending(session, second, [UID])
        progress.wait(session, first, error="late")
    assert instance(database, planned).state == "sending", "the second run's word stands"


type Deed = Callable[[Session, Delivery], object]
DEEDS: dict[str, Deed] = {
    "an answer": lambda session, run: progress.record(
        session, run.delivery_id, Outcome(UID, True, False, "0x0000")
    ),
    "leave to send": lambda session, run: progress.sending(session, run, [UID]),
    "the study's end": lambda session, run: progress.fail_all(session, run.delivery_id, "Gone."),
    "a cancelling": lambda session, run: ledger.cancel(session, run.delivery_id, actor="nora"),
}


@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS)
def test_what_happens_while_a_later_run_begins_neither_stops_it_nor_is_stopped(
    database: Database, planned: int, deed: Deed
) -> None:
    """Two such once waited for each other until PostgreSQL ended one of them."""
    run = begin(database, planned)
    with database.tenant_session("north") as session:
        progress.sending(session, run, [UID])

    def do() -> None:
        with database.tenant_session("north") as session:
            deed(session, run)

    with ThreadPoolExecutor(1) as pool:
        with database.tenant_session("north") as session:
            ledger.lock(session, planned)
            done = pool.submit(do)
            waits = "SELECT FROM pg_locks WHERE NOT granted"
            until(lambda: session.execute(waits).fetchone() is not None)
            progress.begin(session, planned)
        done.result(10)


def test_an_acknowledgement_counts_whoever_brings_it_and_for_ever(
    database: Database, planned: int
) -> None:
    begin(database, planned)
    begin(database, planned)
    with database.tenant_session("north") as session:
        progress.record(session, planned, Outcome(UID, True, False, "0x0000"))
        progress.record(session, planned, Outcome(UID, False, True, "0xC000", "It cannot."))
        progress.fail_all(session, planned, "The study was deleted here.")
    assert instance(database, planned).state == "delivered"


def test_what_was_cancelled_stays_so_unless_it_arrives_all_the_same(
    database: Database, planned: int
) -> None:
    begin(database, planned)
    states = []
    with database.tenant_session("north") as session:
        ledger.cancel(session, planned, actor="nora")
        for late in (
            Outcome(UID, False, False, "0xA700"),
            Outcome(UID, False, True, "0xC000"),
            Outcome(UID, True, False, "0x0000"),
        ):
            progress.record(session, planned, late)
            states.append(ledger.get_delivery(session, planned).state)
    assert states == ["cancelled", "cancelled", "delivered"]


def test_what_waits_for_its_study_to_be_deleted_is_not_sent(
    database: Database, planned: int
) -> None:
    run = begin(database, planned)
    with database.tenant_session("north") as session:
        progress.fail_all(session, planned, causes.STUDY_DELETED)
        assert not progress.sending(session, run, [UID])


def test_being_unreachable_is_no_attempt_at_an_instance(database: Database, planned: int) -> None:
    for _ in range(3):
        run = begin(database, planned)
        with database.tenant_session("north") as session:
            assert progress.sending(session, run, [UID])
            progress.wait(session, run, error="It does not answer.")
    assert instance(database, planned).attempts == 0
    with database.tenant_session("north") as session:
        progress.record(session, planned, Outcome(UID, False, False, "0xA700"))
    assert instance(database, planned).attempts == 1


def test_odd_bytes_in_a_destinations_own_words_are_left_out(
    database: Database, planned: int
) -> None:
    with database.tenant_session("north") as session:
        progress.record(session, planned, Outcome(UID, False, True, "0xC000", "bad\0 tag"))
    assert instance(database, planned).cause == "bad tag"


def test_the_pause_grows_from_the_last_time_that_it_answered(
    database: Database, planned: int
) -> None:
    with database.tenant_session("north") as session:
        destination_id = ledger.get_delivery(session, planned).destination_id
        assert destination_id is not None
        pauses = [
            progress.unreachable(session, destination_id, error="x", first_s=1) for _ in range(3)
        ]
        progress.reached(session, destination_id, planned)
        again = progress.unreachable(session, destination_id, error="x", first_s=1)
    assert pauses == sorted(pauses)
    assert pauses[2] >= 3.2
    assert again <= 1.2
