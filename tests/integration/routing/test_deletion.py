"""A study of which a delivery waits stays; cancelled, it goes, and nothing more is sent."""

from __future__ import annotations

import pytest

from extensions.routing import ledger
from gateway import studies
from gateway.db import Database
from gateway.studies import Arrival, StillNeeded
from tests.integration.routing.conftest import STUDY, FakeArchive, Receiver, make_file
from tests.integration.routing.test_forwarding import arrive, forward, state, tried_in_vain
from tests.integration.worker_host import WorkerHost, until


def may_go(database: Database) -> bool:
    try:
        with database.system_session("test") as session:
            studies.let_go(session, STUDY)
    except StillNeeded:
        return False
    return True


def put_off(database: Database) -> bool:
    """The destination is not tried again in the next hour."""
    with database.system_session("test") as session:
        changed = session.execute(
            "UPDATE job SET run_at = now() + interval '1 hour' "
            "WHERE task = 'deliver' AND state = 'waiting'"
        )
        return changed.rowcount == 1


@pytest.fixture
def waiting(
    database: Database, archive: FakeArchive, receiver: Receiver, host: WorkerHost
) -> ledger.Delivery:
    """A delivery of three instances to a receiver that is away."""
    with database.system_session("test") as session:
        studies.claim(session, "north", Arrival(STUDY))
    receiver.stop()
    archive.add(*(make_file(n) for n in range(3)))
    forward(database, receiver.port)
    arrive(database)
    return tried_in_vain(database)


def test_a_study_goes_when_it_has_arrived_and_not_before(
    database: Database, receiver: Receiver, waiting: ledger.Delivery
) -> None:
    assert not may_go(database)
    receiver.start()
    until(lambda: state(database) == "delivered")
    until(lambda: may_go(database))


def test_a_cancelled_delivery_sends_nothing_lets_the_study_go_and_can_be_released(
    database: Database, receiver: Receiver, waiting: ledger.Delivery
) -> None:
    until(lambda: put_off(database))
    with database.tenant_session("north") as session:
        ledger.cancel(session, waiting.delivery_id, actor="nora")
    until(lambda: may_go(database))
    receiver.hold_after(0)
    receiver.start()
    assert state(database) == "cancelled"
    with database.tenant_session("north") as session:
        causes = {it.cause for it in ledger.instances_of(session, waiting.delivery_id)}
        assert causes == {"Cancelled by nora."}
        assert not receiver.received
        ledger.release(session, waiting.delivery_id, actor="nora")
    assert not may_go(database)
    receiver.go_on()
    until(lambda: state(database) == "delivered")
