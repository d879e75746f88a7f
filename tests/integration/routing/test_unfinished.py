"""A study stays until it was delivered, or a person has decided that it need not be."""

from __future__ import annotations

from typing import Any

import pytest

from extensions.routing import ledger, runs
from extensions.routing.changes import crosswalk_tables
from extensions.routing.changes.crosswalk_tables import By
from gateway import plugins
from gateway.db import Database
from gateway.events import StudyDeleted, publish
from gateway.studies import StillNeeded
from orthanc_plugins import deletion
from tests.integration.routing.conftest import SERIES, STUDY, FakeArchive, Receiver, make_file
from tests.integration.routing.test_actions import (
    FORWARD,
    arrive,
    deliveries,
    pacs,
    rule,
    run_of,
    state,
)
from tests.integration.worker_host import WorkerHost, until

__all__ = ["pacs"]

MISS: dict[str, Any] = {
    "crosswalk": {"table": "ids", "look_up": "PatientID", "sets": {"new": "PatientID"}}
}


def unfinished(database: Database) -> str:
    """What the deletion of the study is refused with, when all jobs have ended; empty: nothing."""
    hooks = plugins.load("node", plugins.discover()).hook

    def ask(session: Any, uid: str) -> list[list[str]]:
        return hooks.study_unfinished(session=session, study_uid=uid)  # type: ignore[no-any-return]

    def refused() -> str:
        try:
            deletion.let_go(database, "north", STUDY, ask)
        except StillNeeded as error:
            return error.detail
        return "nothing"

    told = until(lambda: (it := refused()) and not is_about_jobs(it) and it)
    return "" if told == "nothing" else str(told)


def is_about_jobs(told: str) -> bool:
    return "routing: " in told or "study_" in told


def the_delivery(database: Database) -> ledger.Delivery:
    (found,) = deliveries(database)
    return found


@pytest.fixture
def held(database: Database, archive: FakeArchive, pacs: Receiver, host: WorkerHost) -> int:
    """A run that waits for a person."""
    archive.add(make_file(1))
    rule(database, {"hold": {"reason": "Check the name."}}, FORWARD)
    arrive(database)
    return until(lambda: (run := run_of(database)) and run.state == "held" and run.run_id)


def test_a_study_that_a_rule_holds_stays_until_somebody_discards_it(
    database: Database, held: int
) -> None:
    assert unfinished(database) == "Not finished: rule 'A': held; release or discard it."
    with database.tenant_session("north") as session:
        runs.discard(session, held, "Not ours.", actor="anna")
    assert unfinished(database) == ""


def test_a_study_that_was_held_goes_when_it_was_released_and_has_arrived(
    database: Database, pacs: Receiver, held: int
) -> None:
    with database.tenant_session("north") as session:
        runs.release(session, held, actor="anna")
    assert unfinished(database) == ""
    assert len(pacs.received) == 1


def test_a_rule_that_is_under_way_without_a_job_keeps_the_study_until_it_is_discarded(
    database: Database, held: int
) -> None:
    with database.tenant_session("north") as session:
        session.execute("UPDATE rule_run SET state = 'running'")
    assert "rule 'A': running; wait until it is done, or discard it" in unfinished(database)
    with database.tenant_session("north") as session:
        runs.discard(session, held, "Broken off.", actor="anna")
    assert unfinished(database) == ""


def test_what_another_tenant_holds_of_it_keeps_no_study(database: Database, held: int) -> None:
    with database.system_session("test") as session:
        session.execute("UPDATE rule_run SET tenant_id = 'south'")
    assert unfinished(database) == ""


def test_a_study_with_which_a_rule_has_failed_stays_until_somebody_discards_it(
    database: Database, archive: FakeArchive, pacs: Receiver, host: WorkerHost
) -> None:
    archive.add(make_file(1))
    rule(database, FORWARD)
    with database.system_session("test") as session:
        session.execute("DELETE FROM destination")
    arrive(database)
    until(lambda: state(database) == "failed")
    assert unfinished(database) == "Not finished: rule 'A': failed; release or discard it."
    run = run_of(database)
    assert run is not None
    with database.tenant_session("north") as session:
        runs.discard(session, run.run_id, "Not ours.", actor="anna")
    assert unfinished(database) == ""


@pytest.fixture
def refused(
    database: Database, archive: FakeArchive, pacs: Receiver, host: WorkerHost
) -> ledger.Delivery:
    """A delivery of which one instance was refused for good."""
    archive.add(make_file(1), make_file(2))
    pacs.refused = {f"{SERIES}.2": 0xC000}
    rule(database, FORWARD)
    arrive(database)
    until(lambda: [it.state for it in deliveries(database)] == ["failed"])
    return the_delivery(database)


def test_a_study_that_a_destination_refused_stays_until_somebody_cancels_the_delivery(
    database: Database, refused: ledger.Delivery
) -> None:
    number = refused.delivery_id
    told = f"Not finished: delivery {number} to 'PACS': failed; release or cancel it."
    assert unfinished(database) == told
    with database.tenant_session("north") as session:
        (before,) = ledger.instances_of(session, number, states=["failed"])
        ledger.cancel(session, number, actor="anna")
        (after,) = ledger.instances_of(session, number, states=["cancelled"])
    assert unfinished(database) == ""
    assert after.remote_status == "0xC000"
    assert after.cause == f"Cancelled by anna. {before.cause}"
    assert (before.may_be_cancelled, after.may_be_cancelled) == (True, False)


def test_a_cancelled_delivery_that_was_released_keeps_its_study_again(
    database: Database, pacs: Receiver, refused: ledger.Delivery
) -> None:
    with database.tenant_session("north") as session:
        ledger.cancel(session, refused.delivery_id, actor="anna")
        ledger.release(session, refused.delivery_id, actor="anna")
    assert "failed; release or cancel it" in unfinished(database)
    pacs.refused = {}
    with database.tenant_session("north") as session:
        ledger.release(session, refused.delivery_id, actor="anna")
    assert unfinished(database) == ""
    assert len(pacs.received) == 2


def test_to_a_destination_that_was_removed_nothing_can_be_delivered(
    database: Database, refused: ledger.Delivery
) -> None:
    with database.system_session("test") as session:
        session.execute("DELETE FROM destination")
    assert unfinished(database) == ""


def test_a_delivery_that_waits_for_a_person_keeps_its_study_until_it_is_cancelled(
    database: Database, archive: FakeArchive, pacs: Receiver, host: WorkerHost
) -> None:
    with database.tenant_session("north") as session:
        by = By("anna")
        crosswalk_tables.create_table(session, name="ids", kind="table", settings={}, by=by)
    archive.add(make_file(1))
    rule(database, MISS, FORWARD)
    arrive(database)
    until(lambda: [it.state for it in deliveries(database)] == ["held"])
    number = the_delivery(database).delivery_id
    told = f"Not finished: delivery {number} to 'PACS': held; release or cancel it."
    assert unfinished(database) == told
    with database.tenant_session("north") as session:
        ledger.cancel(session, number, actor="anna")
    assert unfinished(database) == ""


def test_a_study_that_comes_again_after_it_was_deleted_is_looked_at_anew(
    database: Database, archive: FakeArchive, pacs: Receiver, host: WorkerHost
) -> None:
    archive.add(make_file(1), make_file(2))
    rule(database, FORWARD)
    arrive(database)
    until(lambda: len(pacs.received) == 2)
    assert unfinished(database) == ""
    with database.system_session("test") as session:
        publish(session, "north", StudyDeleted(STUDY))
    assert unfinished(database) == ""
    archive.files.clear()
    archive.add(make_file(3))
    arrive(database, 2)
    until(lambda: len(pacs.received) == 3)
