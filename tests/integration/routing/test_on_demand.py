"""A rule is applied each time that a person asks for it."""

from __future__ import annotations

from typing import Any

import pytest

from extensions.routing import labels, runs
from gateway.db import Database
from tests.integration.routing.conftest import STUDY, FakeArchive, Receiver, make_file
from tests.integration.routing.test_actions import FORWARD, deliveries, pacs, rule, run_of
from tests.integration.routing.test_notify import TO_RIS, Service, service
from tests.integration.worker_host import WorkerHost, until

__all__ = ["pacs", "service"]

LABEL: dict[str, Any] = {"label": {"add": ["asked"]}}
HOLD: dict[str, Any] = {"hold": {"reason": "Check the name."}}


def on_demand(database: Database, archive: FakeArchive, *actions: dict[str, Any]) -> None:
    archive.add(make_file(1))
    rule(database, *actions, trigger="on demand")


def ask(database: Database) -> None:
    with database.tenant_session("north") as session:
        runs.ask(session, STUDY, "A")


def is_at(database: Database, number: int, state: runs.State) -> bool:
    """Whether round `number` has come to `state`."""
    run = run_of(database)
    return run is not None and (run.round, run.state) == (number, state)


def asked_again(database: Database, state: runs.State) -> None:
    """It comes to `state` twice."""
    ask(database)
    until(lambda: is_at(database, 1, state))
    until(lambda: not asked(database))
    ask(database)
    until(lambda: is_at(database, 2, state))


def asked(database: Database) -> bool:
    with database.tenant_session("north") as session:
        jobs = session.execute("SELECT FROM job WHERE state IN ('waiting', 'running')").fetchall()
    return bool(jobs)


def test_it_is_done_again_after_it_was_done(
    database: Database, archive: FakeArchive, pacs: Receiver, host: WorkerHost
) -> None:
    on_demand(database, archive, LABEL)
    ask(database)
    until(lambda: is_at(database, 1, "done"))
    with database.tenant_session("north") as session:
        labels.forget(session, STUDY)
    until(lambda: not asked(database))
    ask(database)
    until(lambda: is_at(database, 2, "done"))
    with database.tenant_session("north") as session:
        assert labels.of_study(session, STUDY) == ["asked"]


def test_a_rule_that_came_after_the_study_is_applied_to_it(
    database: Database, archive: FakeArchive, host: WorkerHost
) -> None:
    archive.add(make_file(1))
    rule(database, LABEL)
    ask(database)
    until(lambda: is_at(database, 1, "done"))


def test_what_was_delivered_is_not_sent_again(
    database: Database, archive: FakeArchive, pacs: Receiver, host: WorkerHost
) -> None:
    on_demand(database, archive, FORWARD)
    asked_again(database, "done")
    until(lambda: [each.state for each in deliveries(database)] == ["delivered"])
    assert list(pacs.received.values()) == [1]


def test_whom_it_tells_is_told_again(
    database: Database, archive: FakeArchive, service: Service, host: WorkerHost
) -> None:
    on_demand(database, archive, TO_RIS)
    asked_again(database, "done")
    assert len(service.got) == 2
    assert len({headers["X-Argonath-Id"] for headers, _ in service.got}) == 2


@pytest.mark.parametrize(
    ("actions", "state"),
    [
        ([{"discard": {"reason": "Not ours."}}], "discarded"),
        ([HOLD], "held"),
        ([LABEL, FORWARD], "failed"),
    ],
)
def test_it_begins_with_its_first_action_whatever_became_of_it(
    database: Database,
    archive: FakeArchive,
    pacs: Receiver,
    host: WorkerHost,
    actions: list[dict[str, Any]],
    state: runs.State,
) -> None:
    on_demand(database, archive, *actions)
    with database.system_session("test") as session:
        session.execute("DELETE FROM destination")  # so that forwarding fails
    asked_again(database, state)


def test_it_is_done_after_a_person_discarded_it(
    database: Database, archive: FakeArchive, pacs: Receiver, host: WorkerHost
) -> None:
    on_demand(database, archive, HOLD, LABEL)
    ask(database)
    until(lambda: is_at(database, 1, "held"))
    discard(database)
    until(lambda: not asked(database))
    ask(database)
    until(lambda: is_at(database, 2, "held"))


def discard(database: Database) -> None:
    run = run_of(database)
    assert run is not None
    with database.tenant_session("north") as session:
        runs.discard(session, run.run_id, "Not now.", actor="anna")


def test_one_that_is_under_way_says_so_and_can_be_discarded_and_asked_for_again(
    database: Database, archive: FakeArchive, service: Service, host: WorkerHost
) -> None:
    service.statuses = [503] * 1000
    on_demand(database, archive, LABEL, TO_RIS)
    ask(database)
    until(lambda: (run := run_of(database)) and run.next_step == 1)
    with pytest.raises(runs.UnderWay, match="Rule 'A', action 2 of 2") as refused:
        ask(database)
    assert "discard it" in refused.value.cure
    discard(database)
    until(lambda: not asked(database))
    service.statuses = []
    ask(database)
    until(lambda: is_at(database, 2, "done"))


def test_asking_twice_at_once_is_asking_once(database: Database, archive: FakeArchive) -> None:
    on_demand(database, archive, LABEL)
    ask(database)
    with pytest.raises(runs.UnderWay, match="just asked"):
        ask(database)
