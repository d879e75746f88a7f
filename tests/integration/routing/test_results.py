"""Rules that look at what extensions have found out, whenever that is noted."""

from __future__ import annotations

from typing import Any

import pytest

from extensions.routing import labels, runs, tryouts
from extensions.routing.rules.rule import parse_rules
from gateway import jobs, results
from gateway.db import Database
from gateway.results import Value
from tests.integration.routing.conftest import STUDY, FakeArchive, Receiver, make_file
from tests.integration.routing.test_actions import arrive, pacs, rule, state  # noqa: F401
from tests.integration.worker_host import WorkerHost, until

WIDE = {"field": "result.aorta", "operator": "at least", "value": 5.5}


@pytest.fixture
def study(database: Database, archive: FakeArchive, pacs: Receiver, host: WorkerHost) -> str:  # noqa: F811
    """North's stable study, of which the listeners have not heard yet."""
    archive.add(make_file(1))
    with database.system_session("test") as session:
        session.execute("UPDATE study SET state = 'stable'")
    return STUDY


def labelling(database: Database, name: str, **more: Any) -> None:
    """A rule that labels the study by its own name."""
    rule(database, {"label": {"add": [name]}}, name=name, **more)


def note(database: Database, value: Value, name: str = "aorta") -> None:
    with database.tenant_session("north") as session:
        results.note(session, STUDY, name, value, extension="trial")


def labelled(database: Database) -> list[str]:
    with database.tenant_session("north") as session:
        return labels.of_study(session, STUDY)


def rounds(database: Database) -> dict[str, int]:
    """The rules that have begun, and how often."""
    with database.tenant_session("north") as session:
        return {run.rule_name: run.round for run in runs.runs_of_study(session, STUDY)}


def test_a_result_that_is_noted_before_the_study_is_stable_counts_then(
    database: Database, study: str
) -> None:
    labelling(database, "wide", when=WIDE)
    labelling(database, "narrow", when={"none": [WIDE]})
    with database.system_session("test") as session:
        session.execute("UPDATE study SET state = 'receiving'")
    note(database, 5.6)
    until(lambda: jobs_done(database) == {"result_noted"})
    assert rounds(database) == {}
    arrive(database)
    until(lambda: labelled(database) == ["wide"])
    assert rounds(database) == {"wide": 1}


def jobs_done(database: Database) -> set[str]:
    with database.system_session("test") as session:
        rows = session.execute("SELECT task FROM job WHERE state = 'done'")
        return {row["task"] for row in rows}


def test_a_result_that_is_noted_later_begins_the_rules_that_look_at_it_and_no_other(
    database: Database, study: str
) -> None:
    labelling(database, "wide", when=WIDE)
    labelling(database, "known", when={"field": "result.aorta", "operator": "exists"})
    labelling(database, "every")
    arrive(database)
    until(lambda: labelled(database) == ["every"])
    labelling(database, "new")  # which the study meets, and has never been looked at with it
    note(database, 5.2)
    until(lambda: labelled(database) == ["every", "known"])
    note(database, 5.6)
    until(lambda: labelled(database) == ["every", "known", "wide"])
    assert rounds(database) == {"every": 1, "known": 1, "wide": 1}


def test_why_it_fired_tells_the_result_that_it_saw(database: Database, study: str) -> None:
    labelling(database, "wide", when=WIDE)
    note(database, [4.9, 5.6])
    until(lambda: state(database, "wide") == "done")
    with database.tenant_session("north") as session:
        (run,) = runs.runs_of_study(session, STUDY)
    assert run.reason == [
        {"condition": "result.aorta at least 5.5", "seen": ["4.9", "5.6"], "met": True}
    ]


def test_true_and_false_are_compared_as_these_words(database: Database, study: str) -> None:
    bleeding = {"field": "result.bleeding", "operator": "equals", "value": "true"}
    labelling(database, "bleeding", when=bleeding)
    note(database, value=True, name="bleeding")
    until(lambda: labelled(database) == ["bleeding"])


def test_a_rule_that_stops_also_stops_those_that_look_at_results(
    database: Database, study: str
) -> None:
    labelling(database, "before", when=WIDE)
    labelling(database, "stopping", stop=True)
    labelling(database, "after", when=WIDE)
    arrive(database)
    until(lambda: labelled(database) == ["stopping"])
    note(database, 5.6)
    until(lambda: labelled(database) == ["before", "stopping"])
    assert rounds(database) == {"before": 1, "stopping": 1}


def test_a_rule_on_demand_looks_at_results_when_somebody_asks_for_it(
    database: Database, study: str
) -> None:
    labelling(database, "wide", trigger="on demand", when=WIDE)
    note(database, 5.6)
    until(lambda: jobs_done(database) == {"result_noted"})
    assert rounds(database) == {}
    with database.tenant_session("north") as session:
        jobs.enqueue(
            session,
            tenant_id="north",
            extension="routing",
            task="apply",
            arguments={"study_uid": STUDY, "rule_name": "wide"},
        )
    until(lambda: labelled(database) == ["wide"])


def test_a_rule_that_need_not_wait_for_the_study_does_not_wait_for_it_after_a_result(
    database: Database, study: str
) -> None:
    labelling(database, "early", trigger="instance received", when=WIDE)
    labelling(database, "late", when=WIDE)
    with database.system_session("test") as session:
        session.execute("UPDATE study SET state = 'receiving'")
    note(database, 5.6)
    until(lambda: labelled(database) == ["early"])
    assert rounds(database) == {"early": 1}


def test_a_tryout_knows_the_results_of_its_studies(database: Database, study: str) -> None:
    labelling(database, "live")
    arrive(database)
    until(lambda: labelled(database) == ["live"])
    note(database, 5.6)
    draft = parse_rules([{"name": "wide", "when": WIDE, "actions": [{"label": {"add": ["w"]}}]}])
    with database.tenant_session("north") as session:
        number = tryouts.start(session, draft, most_studies=10, days=None, author="anna")

    def report() -> Any:
        with database.tenant_session("north") as session:
            found = tryouts.get(session, number)
        return found.report if found.state == "done" else None

    assert until(report)["by_rule"] == {"wide": 1}
