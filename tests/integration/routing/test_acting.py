"""A rule that gets no further says why, and stands where somebody looks for it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import pytest
from pydantic import BaseModel

from extensions.routing import acting, runs
from gateway.actions import Actions, Effect, NoArguments, Step, Subject, Transform
from gateway.archive import Archive
from gateway.context import TaskContext
from gateway.db import Database
from gateway.errors import DestinationUnavailable
from gateway.jobs import Postpone
from gateway.settings import Settings
from tests.integration.routing.conftest import STUDY, FakeArchive, make_file
from tests.routing_rules import begin_run


class Trouble:
    """What an action raises."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    def __call__(self, context: TaskContext, settings: BaseModel, subject: Subject) -> None:
        if self.error is not None:
            raise self.error


@pytest.fixture
def trouble() -> Trouble:
    return Trouble()


@pytest.fixture
def context(
    settings: Settings, database: Database, archive: FakeArchive, trouble: Trouble
) -> Iterator[TaskContext]:
    """North's, with an archive that holds one instance, and the action `try`."""
    archive.add(make_file(1))
    known = Actions([Effect("try", "Try", NoArguments, trouble)])
    with closing(Archive(archive.url, "internal", "north")) as north:
        yield TaskContext("north", settings, database, north, logging.getLogger("test"), known)


@pytest.fixture
def begun(database: Database) -> int:
    """A run of one action of north's study."""
    return begin(database, "try")


def begin(database: Database, *actions: str) -> int:
    with database.tenant_session("north") as session:
        return begin_run(session, STUDY, "A", *(Step(action, {}) for action in actions)).run_id


def run_of(database: Database, run_id: int) -> runs.Run:
    with database.tenant_session("north") as session:
        return runs.get_run(session, run_id)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (DestinationUnavailable("It is away."), "It is away."),
        (Postpone(1.0, "trial: wait is not done yet."), "trial: wait is not done yet."),
        (KeyError("Doe^Jane"), "KeyError in the action's code; the worker's log tells where."),
    ],
)
def test_what_is_tried_in_vain_is_told_until_it_is_done(
    database: Database,
    context: TaskContext,
    begun: int,
    trouble: Trouble,
    error: Exception,
    told: str,
) -> None:
    trouble.error = error
    began = run_of(database, begun)
    with pytest.raises(type(error)):
        acting.act(context, begun)
    run = run_of(database, begun)
    assert told in run.cause
    assert "Doe" not in run.cause
    assert (run.state, run.updated_at) == ("running", began.updated_at), "since when is kept"
    trouble.error = None
    acting.act(context, begun)
    run = run_of(database, begun)
    assert (run.state, run.cause) == ("done", "")


def test_an_action_before_that_is_gone_fails_the_run_at_the_next(
    database: Database, context: TaskContext, trouble: Trouble
) -> None:
    def copy(*_: object) -> Callable[[object], None]:
        return lambda _: None

    change = Transform("change", "Change", NoArguments, copy)  # type: ignore[arg-type]
    whole = replace(context, actions=Actions([*context.actions, change]))
    run_id = begin(database, "change", "try")
    trouble.error = DestinationUnavailable("It is away.")
    with pytest.raises(DestinationUnavailable):
        acting.act(whole, run_id)
    acting.act(context, run_id)
    run = run_of(database, run_id)
    assert (run.state, run.next_step) == ("failed", 1)
    assert "change" in run.cause


@pytest.mark.parametrize(
    "state", ["run_at = now() + interval '1 hour'", "state = 'failed'"], ids=["waits", "gave up"]
)
def test_what_a_person_has_tried_now_has_a_job_that_is_due(
    database: Database, context: TaskContext, begun: int, trouble: Trouble, state: str
) -> None:
    trouble.error = DestinationUnavailable("It is away.")
    with pytest.raises(DestinationUnavailable):
        acting.act(context, begun)
    with database.system_session("test") as session:
        session.execute(f"UPDATE job SET {state}".encode())
    with database.tenant_session("north") as session:
        runs.release(session, begun, actor="anna")
        due = session.execute(
            "SELECT FROM job WHERE task = 'act' AND state = 'waiting' AND run_at <= now()"
        ).fetchall()
    assert len(due) == 1
    assert run_of(database, begun).cause == ""
