"""A rule for complete studies begins while the study arrives, and once for what it has caught."""

from __future__ import annotations

from importlib import resources
from typing import Any

import psycopg

from gateway.db import Database
from gateway.events import StudyArriving, StudyStable, publish
from tests.integration.routing.conftest import SERIES, STUDY, FakeArchive, Receiver, make_file
from tests.integration.routing.test_actions import FORWARD, deliveries, pacs, rule, run_of
from tests.integration.routing.test_forwarding import is_quiet
from tests.integration.worker_host import WorkerHost, until

__all__ = ["pacs"]

THIN, DOSE, SCOUT = (f"{SERIES}.{number}" for number in range(3))


def of(series: str, number: int) -> bytes:
    return make_file(number, SeriesInstanceUID=series)


def expect(database: Database, **complete: Any) -> None:
    rule(database, FORWARD, trigger="study complete", complete=complete)


def named(series: str) -> dict[str, str]:
    return {"field": "SeriesInstanceUID", "operator": "equals", "value": series}


def tell(database: Database, event: StudyArriving | StudyStable) -> None:
    """Of an arrival, and wait until everything that followed from it is done."""
    with database.system_session("test") as session:
        publish(session, "north", event)
    until(lambda: is_quiet(database))


def grown(database: Database, series: str, hours_ago: int = 1) -> None:
    """It grew so long ago last."""
    with database.tenant_session("north") as session:
        session.execute(
            "UPDATE series_facts SET grown_at = now() - make_interval(hours => %s) "
            "WHERE series_instance_uid = %s",
            [hours_ago, series],
        )


def test_it_begins_with_the_last_expected_instance_and_not_again_when_the_study_is_stable(
    database: Database, archive: FakeArchive, pacs: Receiver, host: WorkerHost
) -> None:
    expect(database, instances=2)
    archive.add(of(THIN, 1))
    tell(database, StudyArriving(STUDY))
    assert run_of(database) is None
    archive.add(of(THIN, 2))
    tell(database, StudyArriving(STUDY))
    assert [found.state for found in deliveries(database)] == ["delivered"]
    tell(database, StudyStable(STUDY, 1))
    run = run_of(database)
    assert run is not None
    assert (run.round, run.instances) == (1, 2)
    assert sorted(pacs.received.values()) == [1, 1]


def test_it_begins_when_no_expected_series_grows_and_what_comes_later_follows(
    database: Database, archive: FakeArchive, pacs: Receiver, host: WorkerHost
) -> None:
    expect(database, series=[named(THIN), named(DOSE)])
    archive.add(of(THIN, 1), of(DOSE, 2))
    tell(database, StudyArriving(STUDY))
    grown(database, THIN)
    grown(database, DOSE, hours_ago=-1)  # however long this test takes
    tell(database, StudyArriving(STUDY))
    assert run_of(database) is None  # half of the dose series may be missing
    grown(database, DOSE)
    archive.add(of(SCOUT, 3))
    tell(database, StudyArriving(STUDY))
    assert len(pacs.received) == 3
    archive.add(of(SCOUT, 4))
    tell(database, StudyStable(STUDY, 1))
    assert sorted(pacs.received.values()) == [1] * 4


def test_its_tenant_is_told_of_arrivals_also_where_the_rule_is_older_than_that(
    database: Database, owner_url: str, pacs: Receiver
) -> None:
    def watched() -> int:
        with database.tenant_session("north") as session:
            return session.execute("SELECT FROM arrival_watch").rowcount

    expect(database, instances=2)
    assert watched() == 1
    migration = resources.files("extensions.routing") / "schema/0008_complete_while_arriving.sql"
    with psycopg.connect(owner_url) as owner:
        owner.execute("DELETE FROM arrival_watch")
        owner.execute(migration.read_bytes())
    assert watched() == 1
