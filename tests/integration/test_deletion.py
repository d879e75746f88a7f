"""A study that somebody still needs is not deleted, on a real PostgreSQL."""

from __future__ import annotations

import threading

import pytest
import redis

from gateway import jobs, studies
from gateway.db import Database, Session
from gateway.dispatcher import Dispatcher
from gateway.events import StudyStable, publish
from gateway.plugins import discover, load
from gateway.settings import Settings
from gateway.studies import Arrival, StillNeeded
from tests.integration.worker_host import until

UID, OTHER = "1.2.3", "1.2.4"


@pytest.fixture
def ward(database: Database) -> Database:
    """North receives a study."""
    with database.system_session("test") as session:
        for uid in (UID, OTHER):
            studies.claim(session, "north", Arrival(uid, "P1"))
            studies.mark_receiving(session, uid)
    return database


def let_go(database: Database, uid: str = UID) -> None:
    with database.system_session("test") as session:
        studies.let_go(session, uid)


def make_stable(session: Session, *, quiet_s: float = -1) -> bool:
    return studies.mark_stable(
        session, UID, 1, quiet_s=quiet_s, modalities=[], series_count=1, instance_count=1
    )


def enqueue(session: Session, uid: str, tenant: str = "north") -> None:
    jobs.enqueue(session, tenant_id=tenant, extension="x", task="send", arguments={}, study_uid=uid)


@pytest.mark.parametrize("state", ["waiting", "running"])
def test_a_study_stays_while_a_job_needs_it_and_goes_when_that_has_ended(
    ward: Database, state: str
) -> None:
    with ward.system_session("test") as session:
        enqueue(session, UID)
        session.execute("UPDATE job SET state = %s", [state])
    with pytest.raises(StillNeeded) as refused:
        let_go(ward)
    assert "x: send" in refused.value.message
    assert "cancel" in refused.value.cure
    let_go(ward, OTHER)
    with ward.system_session("test") as session:
        session.execute("UPDATE job SET state = 'done'")
    let_go(ward)


def test_what_another_tenant_names_keeps_no_study(ward: Database) -> None:
    with ward.tenant_session("south") as session:
        enqueue(session, UID, tenant="south")
        publish(session, "south", StudyStable(UID, 1))
    let_go(ward)


def test_a_study_stays_until_every_listener_has_worked_on_its_arrival(
    ward: Database, settings: Settings
) -> None:
    with ward.system_session("test") as session:
        assert make_stable(session)
    with pytest.raises(StillNeeded, match="study_stable"):
        let_go(ward)
    manager = load("worker", discover())
    Dispatcher(settings, ward, redis.Redis.from_url(settings.redis_url), manager).step()
    with pytest.raises(StillNeeded, match="routing: study_stable"):
        let_go(ward)
    let_go(ward, OTHER)


def waits_for_a_lock(ward: Database) -> bool:
    with ward.system_session("test") as session:
        return session.execute("SELECT FROM pg_locks WHERE NOT granted").rowcount > 0


def test_a_study_that_becomes_stable_while_it_is_let_go_stays(ward: Database) -> None:
    answers: list[str] = []

    def delete() -> None:
        try:
            let_go(ward)
            answers.append("gone")
        except StillNeeded:
            answers.append("stays")

    deleting = threading.Thread(target=delete)
    with ward.system_session("test") as session:
        assert make_stable(session)
        deleting.start()
        until(lambda: waits_for_a_lock(ward))  # until this transaction has ended
        assert answers == []
    deleting.join(30)
    assert answers == ["stays"]


def test_a_study_that_was_let_go_does_not_become_stable_while_it_is_deleted(
    ward: Database,
) -> None:
    let_go(ward)
    with ward.system_session("test") as session:
        assert not make_stable(session, quiet_s=0)


def test_a_study_of_which_more_arrives_after_it_was_let_go_becomes_stable(
    ward: Database,
) -> None:
    let_go(ward)
    with ward.system_session("test") as session:
        studies.claim(session, "north", Arrival(UID, "P1"))
    with ward.system_session("test") as session:
        assert make_stable(session, quiet_s=0)
