"""Who goes next to a destination, when, and what those cost who wait."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

import pytest

from extensions.routing import destinations, ledger, progress
from extensions.routing.destinations import Destination
from extensions.routing.ledger import Filter
from extensions.routing.sending import line
from gateway.actions import Subject
from gateway.archive import Reference
from gateway.db import Database, Session
from gateway.events import StudyStable, publish
from tests.integration.routing.conftest import STUDY, FakeArchive, Receiver, make_file
from tests.integration.routing.test_forwarding import arrive, delivery, forward, state
from tests.integration.worker_host import WorkerHost, until

NOON = datetime.fromisoformat("2026-01-31T12:00:00+01:00")


def make_destination(database: Database, **limits: Any) -> Destination:
    with database.tenant_session("north") as session:
        return destinations.create_destination(
            session,
            name="PACS",
            kind="dimse",
            settings={"host": "127.0.0.1", "port": 1, "called_aet": "PACS"},
            limits=limits,
            actor="test",
        )


def plan(session: Session, to: Destination, number: int, priority: str = "normal") -> int:
    instance = Reference(f"1.2.{number}.1", f"1.2.{number}", "1.2.840.10008.5.1.4.1.1.2", 1)
    subject = Subject(f"1.2.{number}", (instance,), "rule", priority=priority)
    return progress.plan(session, to, subject)[0]


def called(session: Session) -> list[int]:
    rows = session.execute(
        "SELECT delivery_id FROM delivery WHERE called_at IS NOT NULL ORDER BY delivery_id"
    )
    return [row["delivery_id"] for row in rows]


def due_jobs(session: Session) -> int:
    row = session.execute(
        "SELECT count(*) AS n FROM job WHERE state = 'waiting' AND run_at <= now()"
    ).fetchone()
    assert row is not None
    return row["n"]


@pytest.mark.parametrize("concurrency", [1, 3])
def test_only_as_many_are_called_as_the_destination_takes(
    database: Database, concurrency: int
) -> None:
    to = make_destination(database, concurrency=concurrency)
    with database.tenant_session("north") as session:
        planned = [plan(session, to, number) for number in range(50)]
        assert called(session) == planned[:concurrency]
        assert due_jobs(session) == concurrency, "the others' jobs cost nothing"


def test_the_most_urgent_goes_next_and_then_who_waited_longest(database: Database) -> None:
    to = make_destination(database)
    with database.tenant_session("north") as session:
        first = plan(session, to, 1)
        second = plan(session, to, 2)
        urgent = plan(session, to, 3, "urgent")
        order = [called(session)]
        for _ in range(2):
            progress.fail_all(session, order[-1][0], "enough")
            line.step_back(session, order[-1][0], to.destination_id)
            order.append(called(session))
    assert order == [[first], [urgent], [second]]


def test_a_destination_that_does_not_answer_holds_one_worker(database: Database) -> None:
    to = make_destination(database, concurrency=4)
    with database.tenant_session("north") as session:
        progress.unreachable(session, to.destination_id, error="away", first_s=60)
        for number in range(5):
            plan(session, to, number)
        assert len(called(session)) == 1
        assert due_jobs(session) == 0, "and not before its pause is over"


def test_what_is_off_peak_waits_for_the_night_and_stops_nobody(database: Database) -> None:
    to = make_destination(database, off_peak="20:00-06:00")
    with database.tenant_session("north") as session:
        session.execute("UPDATE destination SET enabled = false")
        night = plan(session, to, 1, "off-peak")
        session.execute("UPDATE destination SET enabled = true")
        line.call_next(session, to.destination_id, NOON)
        assert (called(session), due_jobs(session)) == ([night], 0)
        day = plan(session, to, 2)
        line.call_next(session, to.destination_id, NOON)
        assert (called(session), due_jobs(session)) == ([day], 1)
        ledger.cancel(session, day, actor="test")
        line.call_next(session, to.destination_id, NOON + timedelta(hours=9))
        assert (called(session), due_jobs(session)) == ([night], 1)


def test_outside_its_hours_a_destination_gets_nothing(database: Database) -> None:
    to = make_destination(database, window="20:00-06:00")
    with database.tenant_session("north") as session:
        session.execute("UPDATE destination SET enabled = false")
        plan(session, to, 1, "urgent")
        session.execute("UPDATE destination SET enabled = true")
        line.call_next(session, to.destination_id, NOON)
        assert due_jobs(session) == 0
        line.call_next(session, to.destination_id, NOON + timedelta(hours=8))
        assert due_jobs(session) == 1


def test_a_job_that_was_given_up_does_not_stop_the_line(database: Database) -> None:
    to = make_destination(database)
    with database.tenant_session("north") as session:
        first = plan(session, to, 1)
        session.execute("UPDATE job SET state = 'failed', finished_at = now()")
        line.call_next(session, to.destination_id)
        assert (called(session), due_jobs(session)) == ([first], 1)


def test_an_outage_is_audited_when_it_begins_and_when_it_ends(
    database: Database, archive: FakeArchive, receiver: Receiver, host: WorkerHost
) -> None:
    archive.add(make_file(1))
    receiver.stop()
    forward(database, receiver.port)
    arrive(database)

    def tries() -> int:
        with database.tenant_session("north") as session:
            return destinations.named(session, "PACS").failures

    until(lambda: tries() >= 3, 60)
    receiver.start()

    def told() -> list[tuple[str, str]]:
        with database.tenant_session("north") as session:
            rows = session.execute(
                "SELECT action, verdict FROM audit WHERE resource = 'destination PACS' "
                "AND action LIKE '%-outage' ORDER BY audit_id"
            ).fetchall()
        return [(row["action"], row["verdict"]) for row in rows]

    until(lambda: state(database) == "delivered")
    until(lambda: len(told()) == 2)
    assert told() == [("begin-outage", "failed"), ("end-outage", "allowed")]


def test_a_destination_that_is_paused_meanwhile_gets_nothing_more(
    database: Database, archive: FakeArchive, receiver: Receiver, host: WorkerHost
) -> None:
    archive.add(*(make_file(n) for n in range(200)))
    number = forward(database, receiver.port)
    receiver.hold_after(5)
    arrive(database)
    until(lambda: len(receiver.received) == 5)
    with database.tenant_session("north") as session:
        destinations.set_enabled(session, number, enabled=False, actor="test")
    receiver.go_on()
    until(lambda: state(database) == "waiting")
    then = len(receiver.received)
    assert then < 200
    with database.tenant_session("north") as session:
        destinations.set_enabled(session, number, enabled=True, actor="test")
    until(lambda: state(database) == "delivered")
    assert set(receiver.received.values()) == {1}


def test_a_series_goes_in_the_order_of_its_numbers(
    database: Database, archive: FakeArchive, receiver: Receiver, host: WorkerHost
) -> None:
    numbers = [10, 9, 2, 30, 1]
    archive.add(*(make_file(n) for n in numbers))
    forward(database, receiver.port)
    arrive(database)
    until(lambda: state(database) == "delivered")
    assert [int(uid.rpartition(".")[2]) for uid in receiver.received] == sorted(numbers)


def test_bandwidth_is_kept(
    database: Database, archive: FakeArchive, receiver: Receiver, host: WorkerHost
) -> None:
    archive.add(make_file(0))
    destination_id = forward(database, receiver.port)
    arrive(database)
    until(lambda: state(database) == "delivered")  # so all that sends has started
    with database.tenant_session("north") as session:
        session.execute(
            """UPDATE destination SET limits = '{"bandwidth": 10}' WHERE destination_id = %s""",
            [destination_id],
        )
    more = [make_file(n) for n in range(1, 11)]
    archive.add(*more)
    began = time.monotonic()
    arrive(database, 2)
    until(lambda: len(receiver.received) == 11)
    assert time.monotonic() - began > 0.7 * sum(map(len, more)) / 10_000


def test_all_failures_of_a_filter_are_released_and_no_others(database: Database) -> None:
    to = make_destination(database)
    with database.tenant_session("north") as session:
        planned = [plan(session, to, number) for number in range(6)]
        for number, delivery_id in enumerate(planned):
            progress.fail_all(session, delivery_id, "100% odd" if number % 2 else "refused")
            line.leave(session, delivery_id)
        released = ledger.release_all(session, Filter(cause="100% o"), actor="test")
        waiting = [it.delivery_id for it in ledger.list_deliveries(session, Filter("waiting"))]
        assert ledger.release_all(session, Filter(cause="1_0"), actor="test") == 0
    assert released == 3
    assert sorted(waiting) == planned[1::2]


def test_a_deleted_destination_leaves_nothing_that_waits(database: Database) -> None:
    to = make_destination(database)
    with database.tenant_session("north") as session:
        planned = [plan(session, to, number) for number in range(3)]
        destinations.delete_destination(session, to.destination_id, actor="test")
        states = {ledger.get_delivery(session, each).state for each in planned}
        open_jobs = session.execute("SELECT FROM job WHERE state = 'waiting'").fetchall()
    assert (states, open_jobs) == ({"failed"}, [])


def test_a_study_is_sent_again_when_a_person_wants_it(
    database: Database, archive: FakeArchive, receiver: Receiver, host: WorkerHost
) -> None:
    from extensions.routing import replaying

    archive.add(make_file(1), make_file(2))
    destination_id = forward(database, receiver.port)
    arrive(database)
    until(lambda: state(database) == "delivered")
    with database.tenant_session("north") as session:
        replaying.request(session, STUDY, destination_id, transforms=(), actor="Ann")
    until(lambda: sum(receiver.received.values()) == 4)
    until(lambda: state(database) == "delivered")
    found = delivery(database)
    assert found is not None
    assert found.total == 2


def test_several_studies_go_at_once_where_the_destination_takes_them(
    database: Database, archive: FakeArchive, receiver: Receiver, host: WorkerHost
) -> None:
    archive.add(*(make_file(n) for n in range(20)))
    receiver.hold_until_at_once(3)
    forward(database, receiver.port)
    with database.tenant_session("north") as session:
        session.execute("""UPDATE destination SET limits = '{"concurrency": 3}'""")
        for number in range(6):
            publish(session, "north", StudyStable(f"1.2.{number}", 1))

    def delivered() -> bool:
        with database.tenant_session("north") as session:
            return len(ledger.list_deliveries(session, Filter("delivered"))) == 6

    until(delivered, 60)
    assert receiver.most_at_once == 3
    assert set(receiver.received.values()) == {6}
