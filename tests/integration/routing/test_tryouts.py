"""A draft of the rules, tried on studies of before: what would be different; nothing is done."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from extensions.anonymize import projects
from extensions.anonymize.options import Options
from extensions.routing import ledger, runs, tryouts
from extensions.routing.actions import ACTIONS
from extensions.routing.changes import crosswalk_tables
from extensions.routing.changes.crosswalk_tables import By
from extensions.routing.rules.rule import RuleDocument, parse_rules
from extensions.routing.tryouts import Tryout
from gateway.actions import Actions
from gateway.archive import Archive
from gateway.context import TaskContext
from gateway.db import Database
from gateway.events import StudyDeleted, publish
from gateway.settings import Settings
from tests.integration.routing.conftest import SERIES, STUDY, FakeArchive, make_file
from tests.integration.routing.test_actions import arrive, pacs, rule  # noqa: F401  a fixture
from tests.integration.worker_host import WorkerHost, until

SERIES_OF_A_STUDY = 4
MANY = int(os.environ.get("ARGONATH_TRYOUT_SERIES", "10000"))
FACTS: dict[str, Any] = {
    "Modality": ["CT"],
    "StudyDescription": ["CT thorax"],
    "NumberOfSeriesRelatedInstances": [120],
} | {f"Keyword{number}": [f"value {number} of an ordinary header"] for number in range(70)}


def draft_of(
    *actions: dict[str, Any], name: str = "Draft", **more: Any
) -> tuple[RuleDocument, ...]:
    return parse_rules([{"name": name, "actions": list(actions), **more}])


def tried(database: Database, draft: tuple[RuleDocument, ...], seconds: float = 60) -> Tryout:
    """The try-out when it is done."""
    with database.tenant_session("north") as session:
        number = tryouts.start(session, draft, most_studies=100_000, days=None, author="anna")

    def done() -> Tryout | None:
        with database.tenant_session("north") as session:
            found = tryouts.get(session, number)
        return found if found.state == "done" else None

    found = until(done, seconds)
    assert found is not None
    return found


@pytest.fixture
def arrived(database: Database, archive: FakeArchive, pacs: Any, host: WorkerHost) -> None:  # noqa: F811
    """One study, which the live rule labels."""
    archive.add(make_file(1, AccessionNumber="A-7", PatientID="P7"))
    rule(database, {"label": {"add": ["live"]}}, name="Live")
    arrive(database)

    def labelled() -> bool:
        with database.tenant_session("north") as session:
            return [run.state for run in runs.runs_of_study(session, STUDY)] == ["done"]

    until(labelled)


@pytest.mark.usefixtures("arrived")
def test_each_rule_and_each_deed_is_counted_beside_the_live_rules(database: Database) -> None:
    report = tried(database, draft_of({"forward": {"to": "PACS"}})).report
    assert (report["studies"], report["series"], report["differing"]) == (1, 1, 1)
    assert (report["by_rule"], report["live_by_rule"]) == ({"Draft": 1}, {"Live": 1})
    assert report["different"] == [
        {
            "study_instance_uid": STUDY,
            "rules": ["Draft"],
            "does": ["forward to PACS"],
            "live": ["label"],
        }
    ]


@pytest.mark.usefixtures("arrived")
def test_a_draft_that_is_live_lists_the_studies_that_match_and_what_is_done_with_them(
    database: Database,
) -> None:
    report = tried(database, draft_of({"label": {"add": ["live"]}}, name="Live")).report
    assert (report["matching"], report["differing"], report["different"]) == (1, 0, [])
    told = {"study_instance_uid": STUDY, "rules": ["Live"], "does": ["label"], "live": ["label"]}
    assert report["alike"] == [told]


@pytest.mark.usefixtures("arrived")
def test_a_rule_before_storage_is_counted_and_shows_what_it_would_have_changed(
    database: Database,
) -> None:
    change = {"do": "prefix", "tag": "AccessionNumber", "text": "N-"}
    report = tried(database, draft_of({"morph": {"changes": [change]}}, trigger="before storage"))
    (different,) = report.report["different"]
    assert different["does"] == ["change tags before storage"]
    (example,) = report.report["changes"]
    assert {"A-7", "N-A-7"} <= {
        one[side] for one in example["changes"] for side in ("before", "after")
    }


@pytest.mark.usefixtures("arrived")
def test_a_tryout_shows_which_tags_of_an_example_change(database: Database) -> None:
    changes = [
        {"do": "prefix", "tag": "AccessionNumber", "text": "N-"},
        {"do": "remove", "tag": "PatientName"},
    ]
    draft = draft_of({"morph": {"changes": changes}}, {"forward": {"to": "PACS"}})
    (example,) = tried(database, draft).report["changes"]
    assert (example["rule"], example["study_instance_uid"]) == ("Draft", STUDY)
    told = {one["tag"]: (one["before"], one["after"]) for one in example["changes"]}
    assert told["AccessionNumber"] == ("A-7", "N-A-7")
    assert told["PatientName"] == ("Doe^Jane", None)
    assert "PatientID" not in told


@pytest.mark.usefixtures("arrived")
def test_a_tryout_shows_each_copy_that_a_rule_sends_somewhere_else(database: Database) -> None:
    with database.tenant_session("north") as session:
        crosswalk_tables.create_table(
            session, name="empty", kind="table", settings={}, by=By("anna")
        )
    number = {"do": "prefix", "tag": "AccessionNumber", "text": "N-"}
    miss = {"table": "empty", "look_up": "PatientID", "sets": {"new": "PatientID"}}
    draft = draft_of(
        {"forward": {"to": "Plain"}},
        {"morph": {"changes": [number]}},
        {"forward": {"to": "PACS"}},
        {"forward": {"to": "Second"}},
        {"morph": {"changes": [{"do": "remove", "tag": "PatientName"}]}},
        {"forward": {"to": "Research"}},
        {"crosswalk": miss},
        {"forward": {"to": "Held"}},
    )
    examples = tried(database, draft).report["changes"]
    assert [one["to"] for one in examples] == [["PACS", "Second"], ["Research"], ["Held"]]
    changed = [{tag["tag"] for tag in one["changes"]} for one in examples]
    assert "AccessionNumber" in changed[0]
    assert "PatientName" not in changed[0]
    assert {"AccessionNumber", "PatientName"} <= changed[1]
    assert "has no rows" in examples[2]["trouble"]


@pytest.mark.usefixtures("arrived")
def test_the_values_of_a_deleted_study_are_in_no_report(database: Database) -> None:
    set_name = {"do": "set", "tag": "PatientName", "value": "X"}
    draft = draft_of({"morph": {"changes": [set_name]}}, {"forward": {"to": "PACS"}})
    tryout = tried(database, draft)
    assert "Doe^Jane" in str(tryout.report)
    with database.system_session("test") as session:
        publish(session, "north", StudyDeleted(STUDY))

    def forgotten() -> bool:
        with database.tenant_session("north") as session:
            report = tryouts.get(session, tryout.tryout_id).report
        return "Doe^Jane" not in str(report) and report["studies"] == 1

    until(forgotten)


@pytest.mark.usefixtures("arrived")
def test_a_tryout_says_that_a_study_would_be_held(database: Database) -> None:
    with database.tenant_session("north") as session:
        crosswalk_tables.create_table(
            session, name="numbers", kind="table", settings={}, by=By("anna")
        )
    step = {
        "crosswalk": {
            "table": "numbers",
            "look_up": "AccessionNumber",
            "sets": {"new": "AccessionNumber"},
        }
    }
    (example,) = tried(database, draft_of(step, {"forward": {"to": "PACS"}})).report["changes"]
    assert "has no rows; import them" in example["trouble"]
    assert example["changes"] == []


@pytest.mark.usefixtures("arrived")
def test_a_tryout_of_anonymization_keeps_no_pseudonym(
    database: Database, settings: Settings
) -> None:
    with database.tenant_session("north") as session:
        key = settings.encryption_key
        projects.create_project(
            session, "LUNG", Options(), encryption_key=key, actor="anna", origin=""
        )
    draft = draft_of({"anonymize": {"project": "LUNG"}}, {"forward": {"to": "PACS"}})
    (example,) = tried(database, draft).report["changes"]
    told = {one["tag"]: one["before"] for one in example["changes"]}
    assert told["PatientName"] == "Doe^Jane"
    assert "Doe" not in str([one["after"] for one in example["changes"]])
    with database.tenant_session("north") as session:
        assert session.execute("SELECT FROM research_identity").fetchone() is None


def test_a_tryout_whose_job_fails_for_good_says_so_and_why(
    database: Database, host: WorkerHost
) -> None:
    with database.tenant_session("north") as session:
        draft = draft_of({"forward": {"to": "PACS"}})
        number = tryouts.start(session, draft, most_studies=10, days=None, author="anna")
        assert tryouts.get(session, number).state == "running"
        session.execute("UPDATE tryout SET rules = '[{}]'")  # as if a later version read it

    def failed() -> Tryout | None:
        with database.tenant_session("north") as session:
            found = tryouts.get(session, number)
        return found if found.state == "failed" else None

    found = until(failed)
    assert found is not None
    assert found.cause.startswith("WrongRule: A rule is wrong.")
    with database.system_session("test") as session:
        session.execute("DELETE FROM job WHERE state = 'failed'")  # as after some weeks
    again = failed()
    assert again is not None
    assert again.cause == "nobody knows any more why."


@pytest.mark.usefixtures("arrived")
def test_a_tryout_begins_nothing(database: Database) -> None:
    tried(database, draft_of({"forward": {"to": "PACS"}}, {"label": {"add": ["tried"]}}))
    with database.tenant_session("north") as session:
        assert [run.rule_name for run in runs.runs_of_study(session, STUDY)] == ["Live"]
        assert ledger.deliveries_of_study(session, STUDY) == []


@pytest.fixture
def context(database: Database, archive: FakeArchive, settings: Settings) -> Iterator[TaskContext]:
    """What north's jobs are given, here in the test's own process."""
    with Archive(archive.url, settings.internal_token, "north") as north:
        log = logging.getLogger("test")
        yield TaskContext("north", settings, database, north, log, Actions(ACTIONS))


def keep_many(database: Database, number: int) -> None:
    """Facts of so many series, each of a patient of its own."""
    with database.tenant_session("north") as session:
        session.execute(
            "INSERT INTO series_facts SELECT current_tenant(), '1.2.' || n / %(of_a_study)s, "
            "%(series)s || '.' || n, %(facts)s::jsonb || jsonb_build_object('PatientID', "
            "jsonb_build_array('P' || n)), 120 FROM generate_series(1, %(many)s) AS n",
            {
                "many": number,
                "of_a_study": SERIES_OF_A_STUDY,
                "series": SERIES,
                "facts": Jsonb(FACTS),
            },
        )


def test_while_a_tryout_runs_it_says_how_many_studies_it_has_looked_at(
    database: Database, context: TaskContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_many(database, 8000)
    with database.tenant_session("north") as session:
        draft = draft_of({"forward": {"to": "PACS"}})
        number = tryouts.start(session, draft, most_studies=100_000, days=None, author="anna")
    seen, tell = [], tryouts._tell

    def tell_and_look(*what: Any) -> None:
        tell(*what)
        with database.tenant_session("north") as session:
            found = tryouts.get(session, number)
            seen.append((found.looked_at, tryouts.count_studies(session, found), found.state))

    monkeypatch.setattr(tryouts, "_tell", tell_and_look)
    tryouts.run(context, number)
    assert seen == [
        *((looked_at, 2001, "running") for looked_at in (500, 1000, 1500, 2000, 2001)),
        (2001, 2001, "done"),
    ]


def test_of_many_studies_that_match_the_first_are_listed_and_all_are_counted(
    database: Database, archive: FakeArchive, host: WorkerHost
) -> None:
    keep_many(database, 1000)
    report = tried(database, draft_of({"forward": {"to": "PACS"}})).report
    assert (report["matching"], len(report["different"])) == (251, 200)


def test_many_series_are_looked_at_in_the_time_that_is_promised(
    database: Database, context: TaskContext
) -> None:
    """100,000 in 30 s, with 5 rules and 3 KB of facts for each series; a part of it in each run.

    What else runs here makes the clock run on: so the worker's use of a processor is bounded.
    """
    keep_many(database, MANY)
    draft = parse_rules(
        [
            {
                "name": f"Rule {number}",
                "when": {
                    "all": [
                        {"field": "Modality", "operator": "equals", "value": "CT"},
                        {"field": "PatientID", "operator": "contains", "value": str(number)},
                    ]
                },
                "actions": [{"forward": {"to": f"PACS {number}"}}],
            }
            for number in range(5)
        ]
    )
    took = []
    for _ in range(3):
        with database.tenant_session("north") as session:
            number = tryouts.start(session, draft, most_studies=100_000, days=None, author="anna")
        began, used = time.monotonic(), time.process_time()
        tryouts.run(context, number)
        took.append((time.process_time() - used, time.monotonic() - began))
        with database.tenant_session("north") as session:
            assert tryouts.get(session, number).report["series"] == MANY
    cpu, seconds = min(took)
    print(f"{MANY} series in {seconds:.1f} s, {cpu:.1f} s of them the processor's")
    assert cpu < 30 * MANY / 100_000
