"""When a rule is looked at: while a study arrives or when it is stable, and after which others."""

from __future__ import annotations

from typing import Any

import pytest

from extensions.routing import runs
from gateway.db import Database
from gateway.events import StudyArriving, StudyStable
from tests.integration.routing.conftest import STUDY, FakeArchive, Receiver, make_file
from tests.integration.routing.test_actions import FORWARD, pacs, rule
from tests.integration.routing.test_complete import DOSE, THIN, expect, grown, named, of, tell
from tests.integration.worker_host import WorkerHost

__all__ = ["pacs"]

LABEL: dict[str, Any] = {"label": {"add": ["seen"]}}
CT = {"field": "Modality", "operator": "equals", "value": "CT"}
ARRIVING, STABLE = StudyArriving(STUDY), StudyStable(STUDY, 1)


def fired(database: Database) -> list[tuple[str, str]]:
    """Each rule that has begun, and of what series if it looks at each."""
    with database.tenant_session("north") as session:
        return [
            (run.rule_name, run.series_instance_uid) for run in runs.runs_of_study(session, STUDY)
        ]


def numbers(receiver: Receiver) -> list[int]:
    """The InstanceNumber of each reception."""
    return sorted(int(uid.rpartition(".")[2]) for uid in receiver.received.elements())


def test_a_series_that_still_grows_stays_here(
    database: Database, archive: FakeArchive, pacs: Receiver, host: WorkerHost
) -> None:
    rule(database, FORWARD, trigger="series stable")
    archive.add(of(THIN, 1))
    tell(database, ARRIVING)
    archive.add(of(THIN, 2))
    grown(database, THIN)  # before its second instance
    tell(database, ARRIVING)
    assert fired(database) == []


def test_a_finished_series_leaves_while_another_of_the_study_still_grows(
    database: Database, archive: FakeArchive, pacs: Receiver, host: WorkerHost
) -> None:
    rule(database, FORWARD, trigger="series stable")
    archive.add(of(THIN, 1), of(THIN, 2))
    tell(database, ARRIVING)
    grown(database, THIN)
    archive.add(of(DOSE, 3))
    tell(database, ARRIVING)
    assert fired(database) == [("A", THIN)]
    assert numbers(pacs) == [1, 2]


def test_the_series_that_grew_leaves_with_the_stable_study_and_the_other_not_again(
    database: Database, archive: FakeArchive, pacs: Receiver, host: WorkerHost
) -> None:
    rule(database, FORWARD, trigger="series stable")
    archive.add(of(THIN, 1))
    tell(database, ARRIVING)
    grown(database, THIN)
    archive.add(of(DOSE, 2))
    tell(database, ARRIVING)
    archive.add(of(DOSE, 3))
    tell(database, STABLE)
    assert fired(database) == [("A", THIN), ("A", DOSE)]
    assert numbers(pacs) == [1, 2, 3]


@pytest.mark.parametrize("trigger", ["instance received", "series stable"])
def test_a_rule_that_looks_at_each_series_sends_only_what_meets_its_condition(
    database: Database, archive: FakeArchive, pacs: Receiver, host: WorkerHost, trigger: str
) -> None:
    rule(database, FORWARD, trigger=trigger, when=named(DOSE))
    archive.add(of(THIN, 1), of(DOSE, 2))
    tell(database, STABLE)
    assert numbers(pacs) == [2]


def test_a_rule_for_stable_studies_does_not_begin_while_one_arrives(
    database: Database, archive: FakeArchive, pacs: Receiver, host: WorkerHost
) -> None:
    rule(database, LABEL, trigger="study stable")
    rule(database, LABEL, trigger="instance received", name="B")
    archive.add(make_file(1))
    tell(database, ARRIVING)
    assert {name for name, _ in fired(database)} == {"B"}
    tell(database, STABLE)
    assert {name for name, _ in fired(database)} == {"A", "B"}


def test_a_stable_study_that_lacks_an_expected_series_waits_for_it(
    database: Database, archive: FakeArchive, pacs: Receiver, host: WorkerHost
) -> None:
    expect(database, series=[CT, CT])  # two of CT: none counts twice
    archive.add(of(THIN, 1), of(THIN, 2))
    tell(database, STABLE)
    assert fired(database) == []
    archive.add(of(DOSE, 3))
    tell(database, StudyStable(STUDY, 2))
    assert numbers(pacs) == [1, 2, 3]


@pytest.mark.parametrize(("modality", "begun"), [("CT", "A"), ("MR", "Rest")])
def test_a_fallback_begins_where_no_other_rule_does(
    database: Database,
    archive: FakeArchive,
    pacs: Receiver,
    host: WorkerHost,
    modality: str,
    begun: str,
) -> None:
    rule(database, LABEL, name="Rest", fallback=True)
    rule(database, LABEL, when=CT)
    rule(database, LABEL, name="On arrival", trigger="instance received", when=named("1.2.3"))
    archive.add(make_file(1, Modality=modality))
    tell(database, STABLE)
    assert fired(database) == [(begun, "")]


def test_a_fallback_that_looks_at_each_series_takes_those_that_no_other_rule_takes(
    database: Database, archive: FakeArchive, pacs: Receiver, host: WorkerHost
) -> None:
    rule(database, LABEL, trigger="series stable", when=named(THIN))
    rule(database, LABEL, trigger="series stable", name="Rest", fallback=True)
    archive.add(of(THIN, 1), of(DOSE, 2))
    tell(database, STABLE)
    assert sorted(fired(database)) == [("A", THIN), ("Rest", DOSE)]


@pytest.mark.parametrize(("modality", "begun"), [("CT", {"A"}), ("MR", {"Later"})])
def test_a_rule_that_stops_keeps_those_after_it_from_what_it_takes(
    database: Database,
    archive: FakeArchive,
    pacs: Receiver,
    host: WorkerHost,
    modality: str,
    begun: set[str],
) -> None:
    rule(database, LABEL, when=CT, stop=True)
    rule(database, LABEL, name="Later")
    archive.add(make_file(1, Modality=modality))
    tell(database, STABLE)
    assert {name for name, _ in fired(database)} == begun


def test_neither_stop_nor_fallback_reaches_rules_of_another_trigger(
    database: Database, archive: FakeArchive, pacs: Receiver, host: WorkerHost
) -> None:
    rule(database, LABEL, trigger="series stable", stop=True)
    rule(database, LABEL, name="Later")
    rule(database, LABEL, name="Rest", trigger="instance received", fallback=True)
    archive.add(make_file(1))
    tell(database, STABLE)
    assert {name for name, _ in fired(database)} == {"A", "Later", "Rest"}
