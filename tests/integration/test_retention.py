"""What is done with goes after a while; what is not done with cannot go."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from gateway import audit, identity, jobs, retention
from gateway.audit import Record
from gateway.db import Database
from gateway.events import StudyStable, publish
from gateway.identity import Role
from gateway.settings import Settings


@pytest.fixture
def old(database: Database, owner_url: str) -> None:
    """A row in each state of everything that is swept, all of them very old."""
    with database.system_session("test") as session:
        for state in ("waiting", "running", "done", "failed"):
            jobs.enqueue(
                session,
                tenant_id="north",
                extension="x",
                task=state,
                arguments={},
                unique_key=state,
            )
        for uid in ("1.1", "1.2"):
            publish(session, "north", StudyStable(uid, 1))
        person = identity.create_person(session, "ann@north.example", "a long password")
        identity.add_member(session, person, "north", Role.ADMIN)
        identity.create_api_key(session, "north", Role.MEMBER, label="scanner")
        audit.append(session, Record("a", "store-study", "1.1", "allowed", "north"))
    for _ in range(4):
        identity.sign_in(database, "ann@north.example", "a long password", hours=1)
    with psycopg.connect(owner_url) as owner:
        owner.execute("UPDATE job SET state = task, created_at = now() - interval '1 year'")
        owner.execute("UPDATE job SET finished_at = created_at WHERE task IN ('done', 'failed')")
        owner.execute("UPDATE outbox SET created_at = now() - interval '1 year'")
        owner.execute("UPDATE outbox SET dispatched_at = created_at WHERE payload @> %s", [UID_1])
        # Of four sessions the last is still good; the third was used last of the expired ones.
        owner.execute(
            "UPDATE credential SET expires_at = now() - interval '1 year', "
            "last_used_at = now() - interval '1 year' + credential_id * interval '1 s' "
            "WHERE credential_id < (SELECT max(credential_id) FROM credential)"
        )


UID_1 = '{"study_instance_uid": "1.1"}'


def sweep(database: Database, settings: Settings, *, batch: int = 1000) -> dict[str, int]:
    with database.system_session("test") as session:
        return retention.sweep(session, settings, batch=batch)


def left(owner_url: str, query: str) -> list[str]:
    with psycopg.connect(owner_url) as owner:
        return [row[0] for row in owner.execute(query.encode())]


def test_only_what_is_done_with_goes(
    old: None, database: Database, settings: Settings, owner_url: str
) -> None:
    assert sweep(database, settings) == {"jobs": 2, "events": 1, "sessions": 2}
    assert left(owner_url, "SELECT state FROM job ORDER BY job_id") == ["waiting", "running"]
    assert left(owner_url, "SELECT payload->>'study_instance_uid' FROM outbox") == ["1.2"]
    kinds = left(owner_url, "SELECT kind FROM credential ORDER BY credential_id")
    assert kinds == ["api-key", "session", "session"], "the last visit, and the session that holds"
    assert left(owner_url, "SELECT resource FROM audit") == ["1.1"]


def test_what_is_not_old_enough_stays(old: None, database: Database, settings: Settings) -> None:
    patient = replace(settings, keep_jobs_days=400, keep_events_days=400)
    assert sweep(database, patient) == {"jobs": 0, "events": 0, "sessions": 2}


def test_a_sweep_is_bounded(old: None, database: Database, settings: Settings) -> None:
    assert sweep(database, settings, batch=1) == {"jobs": 1, "events": 1, "sessions": 1}


def test_the_database_lets_nobody_delete_what_is_unfinished(
    old: None, database: Database, owner_url: str
) -> None:
    with database.system_session("test") as session:
        for table in ("job", "outbox", "credential"):
            session.execute(f"DELETE FROM {table}".encode())
    assert left(owner_url, "SELECT state FROM job ORDER BY job_id") == ["waiting", "running"]
    assert left(owner_url, "SELECT payload->>'study_instance_uid' FROM outbox") == ["1.2"]
    assert len(left(owner_url, "SELECT kind FROM credential")) == 2


@pytest.mark.parametrize("table", ["job", "outbox", "credential", "audit"])
def test_a_tenants_session_may_delete_none_of_it(database: Database, table: str) -> None:
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        database.tenant_session("north") as session,
    ):
        session.execute(f"DELETE FROM {table}".encode())


def test_the_dispatcher_sweeps(
    old: None, database: Database, settings: Settings, redis_url: str, owner_url: str
) -> None:
    import redis

    from gateway import plugins
    from gateway.dispatcher import Dispatcher

    connection = redis.Redis.from_url(redis_url)
    Dispatcher(settings, database, connection, plugins.load("worker", [])).step()
    connection.flushdb()
    assert "done" not in left(owner_url, "SELECT state FROM job")
