"""A study that meets a rule arrives at its destination once, whatever happens on the way."""

from __future__ import annotations

from extensions.routing import destinations, ledger, rulebook
from gateway.db import Database
from gateway.events import StudyDeleted, StudyStable, publish
from gateway.settings import Settings
from tests.integration.routing.conftest import STUDY, FakeArchive, Receiver, make_file
from tests.integration.worker_host import WorkerHost, until
from tests.routing_rules import Condition, add_rule

CT = ("Modality", "equals", "CT")


def forward(database: Database, port: int, *conditions: Condition) -> int:
    """A rule of north, to a destination at `port`."""
    with database.tenant_session("north") as session:
        destination = destinations.create_destination(
            session,
            name="PACS",
            kind="dimse",
            settings={"host": "127.0.0.1", "port": port, "called_aet": "PACS"},
            actor="test",
        )
        add_rule(session, "CT to PACS", "PACS", *(conditions or [CT]))
    return destination.destination_id


def arrive(database: Database, arrival: int = 1) -> None:
    with database.tenant_session("north") as session:
        publish(session, "north", StudyStable(STUDY, arrival))


def is_quiet(database: Database) -> bool:
    """Everything that followed from what was published is done."""
    with database.system_session("test") as session:
        row = session.execute(
            "SELECT EXISTS (SELECT FROM outbox WHERE dispatched_at IS NULL) "
            "OR EXISTS (SELECT FROM job WHERE state IN ('waiting', 'running')) AS busy"
        ).fetchone()
    assert row is not None
    return not row["busy"]


def delivery(database: Database) -> ledger.Delivery | None:
    with database.tenant_session("north") as session:
        found = ledger.deliveries_of_study(session, STUDY)
    assert len(found) <= 1
    return found[0] if found else None


def state(database: Database) -> str:
    found = delivery(database)
    return found.state if found else ""


def tried_in_vain(database: Database) -> ledger.Delivery:
    """The delivery, when it waits for its next try."""

    def found() -> ledger.Delivery | None:
        it = delivery(database)
        return it if it and it.last_error and it.state == "waiting" else None

    waiting = until(found)
    assert waiting
    return waiting


def test_every_instance_arrives_once_and_as_it_was(
    database: Database, archive: FakeArchive, receiver: Receiver, host: WorkerHost
) -> None:
    archive.add(*(make_file(n) for n in range(58)))
    forward(database, receiver.port)
    arrive(database)
    until(lambda: state(database) == "delivered")
    assert sorted(receiver.received.values()) == [1] * 58
    assert receiver.associations == 1
    assert all(archive.files[uid].endswith(sent) for uid, sent in receiver.files.items())
    found = delivery(database)
    assert found is not None
    assert (found.delivered, found.total) == (58, 58)
    assert found.reason == [{"condition": "Modality equals CT", "seen": ["CT"], "met": True}]


def test_a_study_that_meets_no_rule_stays_here(
    database: Database, archive: FakeArchive, receiver: Receiver, host: WorkerHost
) -> None:
    archive.add(make_file(1))
    forward(database, receiver.port, ("Modality", "equals", "MR"))
    arrive(database)
    until(lambda: is_quiet(database))
    assert state(database) == ""
    assert not receiver.received


def test_a_receiver_that_dies_half_way_gets_the_rest_when_it_is_back(
    database: Database, archive: FakeArchive, receiver: Receiver, host: WorkerHost
) -> None:
    archive.add(*(make_file(n) for n in range(58)))
    forward(database, receiver.port)
    receiver.die_after = 30
    arrive(database)
    until(lambda: len(receiver.received) == 30)
    receiver.stop()
    waiting = tried_in_vain(database)
    assert (waiting.delivered, waiting.planned) == (30, 28)
    receiver.die_after = 0
    receiver.start()
    until(lambda: state(database) == "delivered")
    assert sorted(receiver.received.values()) == [1] * 58


def senders(database: Database) -> bool:
    """Whether a connection still says that its delivery is being sent."""
    with database.system_session("test") as session:
        locks = "SELECT FROM pg_locks JOIN pg_database d ON d.oid = database "
        here = "WHERE locktype = 'advisory' AND datname = current_database()"
        return bool(session.execute(locks + here).rowcount)


def test_a_worker_that_is_killed_half_way_sends_only_what_was_not_acknowledged(
    database: Database,
    archive: FakeArchive,
    receiver: Receiver,
    host: WorkerHost,
    settings: Settings,
) -> None:
    archive.add(*(make_file(n) for n in range(200)))
    forward(database, receiver.port)
    receiver.hold_after(50)
    arrive(database)
    until(lambda: (d := delivery(database)) and d.delivered == 50)
    host.kill()
    receiver.go_on()
    until(lambda: not senders(database))
    with database.system_session("test") as session:
        session.execute("UPDATE job SET lease_until = now() WHERE state = 'running'")
    second = WorkerHost(settings)
    try:
        until(lambda: state(database) == "delivered")
    finally:
        second.stop()
    assert len(receiver.received) == 200
    # The one on its way at the kill may come twice: nobody heard its answer.
    assert sum(receiver.received.values()) <= 201


def test_an_instance_that_is_refused_fails_with_its_status_and_the_others_go_on(
    database: Database, archive: FakeArchive, receiver: Receiver, host: WorkerHost
) -> None:
    archive.add(*(make_file(n) for n in range(5)))
    uids = list(archive.files)
    receiver.refused = {uids[1]: 0xA900, uids[3]: 0xC001}
    forward(database, receiver.port)
    arrive(database)
    until(lambda: state(database) == "failed")
    assert len(receiver.received) == 3
    found = delivery(database)
    assert found is not None
    with database.tenant_session("north") as session:
        failed = ledger.instances_of(session, found.delivery_id, states=["failed"])
        assert [f.delivery_id for f in ledger.failures(session)] == [found.delivery_id]
    assert {i.remote_status for i in failed} == {"0xA900", "0xC001"}

    receiver.refused = {}
    with database.tenant_session("north") as session:
        assert ledger.release(session, found.delivery_id, actor="test") == 2
    until(lambda: state(database) == "delivered")
    assert sorted(receiver.received.values()) == [1] * 5


def test_an_instance_that_is_refused_for_now_is_sent_again(
    database: Database, archive: FakeArchive, receiver: Receiver, host: WorkerHost
) -> None:
    archive.add(*(make_file(n) for n in range(3)))
    uid = next(iter(archive.files))
    receiver.refused = {uid: 0xA700}
    forward(database, receiver.port)
    arrive(database)
    tried_in_vain(database)
    assert len(receiver.received) == 2
    receiver.refused = {}
    until(lambda: state(database) == "delivered")
    assert sorted(receiver.received.values()) == [1] * 3


def test_a_later_arrival_sends_only_what_is_new(
    database: Database, archive: FakeArchive, receiver: Receiver, host: WorkerHost
) -> None:
    archive.add(make_file(1), make_file(2))
    forward(database, receiver.port)
    arrive(database)
    until(lambda: state(database) == "delivered")
    archive.add(make_file(3))
    arrive(database, 2)
    until(lambda: len(receiver.received) == 3)
    until(lambda: state(database) == "delivered")
    assert sorted(receiver.received.values()) == [1] * 3


def test_a_destination_that_is_switched_off_gets_everything_when_it_is_on(
    database: Database, archive: FakeArchive, receiver: Receiver, host: WorkerHost
) -> None:
    archive.add(make_file(1))
    destination_id = forward(database, receiver.port)
    change = {
        "name": "PACS",
        "kind": "dimse",
        "settings": {"host": "127.0.0.1", "port": receiver.port, "called_aet": "PACS"},
        "actor": "test",
    }
    with database.tenant_session("north") as session:
        destinations.update_destination(session, destination_id, enabled=False, **change)
    arrive(database)
    until(lambda: (d := delivery(database)) and d.last_error == "The destination is switched off.")
    assert not receiver.received
    with database.tenant_session("north") as session:
        destinations.update_destination(session, destination_id, enabled=True, **change)
    until(lambda: state(database) == "delivered")


def test_what_was_not_delivered_of_a_deleted_study_fails_until_it_comes_again(
    database: Database, archive: FakeArchive, receiver: Receiver, host: WorkerHost
) -> None:
    archive.add(make_file(1))
    forward(database, receiver.port)
    receiver.stop()
    arrive(database)
    tried_in_vain(database)
    with database.tenant_session("north") as session:
        publish(session, "north", StudyDeleted(STUDY))
    until(lambda: state(database) == "failed")

    receiver.start()  # and when the study comes again, with more than before
    archive.add(make_file(2))
    arrive(database)
    until(lambda: state(database) == "delivered")
    assert sorted(receiver.received.values()) == [1, 1]


def test_another_tenant_sees_neither_destination_nor_delivery(
    database: Database, archive: FakeArchive, receiver: Receiver, host: WorkerHost
) -> None:
    archive.add(make_file(1))
    forward(database, receiver.port)
    arrive(database)
    until(lambda: state(database) == "delivered")
    with database.tenant_session("south") as session:
        assert destinations.list_destinations(session) == []
        assert rulebook.live(session).rules == ()
        assert ledger.list_deliveries(session) == []
