"""What a rule does with a study: in order, at least once, and held where a person must decide."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from pydicom import dcmread

from extensions.routing import destinations, labels, ledger, rulebook, runs, tryouts
from extensions.routing.ledger import Delivery
from extensions.routing.rules.rule import parse_rules
from gateway import jobs
from gateway.db import Database
from gateway.errors import Conflict, InvalidInput
from gateway.events import StudyArriving, StudyDeleted, StudyStable, publish
from gateway.studies import Arrival, claim
from tests.integration.routing.conftest import SERIES, STUDY, FakeArchive, Receiver, make_file
from tests.integration.worker_host import WorkerHost, until
from tests.routing_rules import add_rule

RENAME: dict[str, Any] = {
    "morph": {"changes": [{"do": "set", "tag": "AccessionNumber", "value": "A-1"}]}
}
FORWARD: dict[str, Any] = {"forward": {"to": "PACS"}}


@pytest.fixture
def pacs(database: Database, receiver: Receiver) -> Receiver:
    """A receiver that is a destination of north, and north's one study."""
    with database.tenant_session("north") as session:
        destinations.create_destination(
            session,
            name="PACS",
            kind="dimse",
            settings={"host": "127.0.0.1", "port": receiver.port, "called_aet": "PACS"},
            actor="test",
        )
    with database.system_session("test") as session:
        claim(session, "north", Arrival(STUDY, source="C-STORE CT1 10.0.0.7"))
    return receiver


def rule(database: Database, *actions: dict[str, Any], name: str = "A", **more: Any) -> None:
    with database.tenant_session("north") as session:
        add_rule(session, name, "PACS", actions=list(actions), **more)


def arrive(database: Database, arrival: int = 1) -> None:
    with database.system_session("test") as session:
        publish(session, "north", StudyStable(STUDY, arrival))


def run_of(database: Database, name: str = "A") -> runs.Run | None:
    with database.tenant_session("north") as session:
        found = [run for run in runs.runs_of_study(session, STUDY) if run.rule_name == name]
    return found[0] if found else None


def state(database: Database, name: str = "A") -> str:
    run = run_of(database, name)
    return run.state if run else ""


def deliveries(database: Database) -> list[Delivery]:
    with database.tenant_session("north") as session:
        return ledger.deliveries_of_study(session, STUDY)


def test_a_copy_is_changed_by_the_lines_before_and_the_archive_keeps_what_it_received(
    database: Database, archive: FakeArchive, pacs: Receiver, host: WorkerHost
) -> None:
    archive.add(make_file(1, AccessionNumber="old"))
    rule(database, RENAME, FORWARD)
    arrive(database)
    until(lambda: [d.state for d in deliveries(database)] == ["delivered"])
    assert pacs.accession_numbers == ["A-1"]
    assert dcmread(BytesIO(archive.files[f"{SERIES}.1"])).AccessionNumber == "old"


def test_two_forms_of_a_study_go_to_one_destination_as_two_deliveries(
    database: Database, archive: FakeArchive, pacs: Receiver, host: WorkerHost
) -> None:
    archive.add(make_file(1, AccessionNumber="old"))
    rule(database, FORWARD, RENAME, FORWARD)
    arrive(database)
    until(lambda: [d.state for d in deliveries(database)] == ["delivered"] * 2)
    assert sorted(pacs.accession_numbers) == ["A-1", "old"]


def test_what_is_held_goes_on_when_somebody_releases_it(
    database: Database, archive: FakeArchive, pacs: Receiver, host: WorkerHost
) -> None:
    archive.add(make_file(1))
    rule(database, {"hold": {"reason": "Check the name."}}, FORWARD)
    arrive(database)
    until(lambda: state(database) == "held")
    run = run_of(database)
    assert run is not None
    assert run.cause == "Check the name."
    assert not deliveries(database)
    with database.tenant_session("north") as session:
        runs.release(session, run.run_id, actor="anna")
    until(lambda: [d.state for d in deliveries(database)] == ["delivered"])
    until(lambda: state(database) == "done")
    with database.tenant_session("north") as session, pytest.raises(Conflict):
        runs.release(session, run.run_id, actor="anna")


def test_what_is_discarded_stays_so_when_more_arrives(
    database: Database, archive: FakeArchive, pacs: Receiver, host: WorkerHost
) -> None:
    archive.add(make_file(1))
    rule(database, {"discard": {"reason": "Localizers only."}}, FORWARD)
    arrive(database)
    until(lambda: state(database) == "discarded")
    archive.add(make_file(2))
    arrive(database, 2)
    rule(database, {"label": {"add": ["seen"]}}, name="B")
    arrive(database, 3)
    until(lambda: state(database, "B") == "done")
    assert state(database) == "discarded"
    assert not pacs.received


def test_a_destination_that_is_gone_fails_the_rule_and_says_the_cure(
    database: Database, archive: FakeArchive, pacs: Receiver, host: WorkerHost
) -> None:
    archive.add(make_file(1))
    rule(database, FORWARD)
    with database.system_session("test") as session:
        session.execute("DELETE FROM destination")
    arrive(database)
    until(lambda: state(database) == "failed")
    run = run_of(database)
    assert run is not None
    assert "Add a destination of that name" in run.cause


def test_labels_are_seen_by_rules_that_are_looked_at_later(
    database: Database, archive: FakeArchive, pacs: Receiver, host: WorkerHost
) -> None:
    archive.add(make_file(1))
    rule(database, {"label": {"add": ["emergency"]}})
    arrive(database)
    until(lambda: state(database) == "done")
    with database.tenant_session("north") as session:
        assert labels.of_study(session, STUDY) == ["emergency"]
        add_rule(session, "B", "PACS", ("labels", "equals", "emergency"))
    arrive(database, 2)
    until(lambda: [d.state for d in deliveries(database)] == ["delivered"])


def test_a_rule_on_arrival_sends_what_is_there_and_later_the_rest(
    database: Database, archive: FakeArchive, pacs: Receiver, host: WorkerHost
) -> None:
    archive.add(make_file(1))
    rule(database, FORWARD, trigger="instance received")
    with database.system_session("test") as session:
        publish(session, "north", StudyArriving(STUDY))
    until(lambda: sum(pacs.received.values()) == 1)
    archive.add(make_file(2))
    arrive(database)
    until(lambda: sum(pacs.received.values()) == 2)
    assert len(deliveries(database)) == 1


def test_only_tenants_with_such_a_rule_are_told_of_arrivals(
    database: Database, pacs: Receiver
) -> None:
    def watched() -> int:
        with database.tenant_session("north") as session:
            return len(session.execute("SELECT FROM arrival_watch").fetchall())

    assert watched() == 0
    rule(database, FORWARD, trigger="series stable")
    assert watched() == 1
    with database.tenant_session("north") as session:
        rulebook.save(session, [], based_on=1, actor="test")
    assert watched() == 0


def test_a_rule_on_demand_runs_only_when_it_is_asked_for(
    database: Database, archive: FakeArchive, pacs: Receiver, host: WorkerHost
) -> None:
    archive.add(make_file(1))
    rule(database, FORWARD, trigger="on demand")
    rule(database, {"label": {"add": ["seen"]}}, name="B")
    arrive(database)
    until(lambda: state(database, "B") == "done")
    assert not deliveries(database)
    with database.tenant_session("north") as session:
        jobs.enqueue(
            session,
            tenant_id="north",
            extension="routing",
            task="apply",
            arguments={"study_uid": STUDY, "rule_name": "A"},
        )
    until(lambda: [d.state for d in deliveries(database)] == ["delivered"])


def test_a_deleted_study_leaves_no_facts_and_no_labels(
    database: Database, archive: FakeArchive, pacs: Receiver, host: WorkerHost
) -> None:
    def kept() -> int:
        with database.tenant_session("north") as session:
            rows = session.execute(
                "SELECT study_instance_uid FROM series_facts UNION ALL "
                "SELECT study_instance_uid FROM study_label"
            )
            return len(rows.fetchall())

    archive.add(make_file(1))
    rule(database, {"label": {"add": ["seen"]}})
    arrive(database)
    until(lambda: kept() == 2)
    with database.system_session("test") as session:
        publish(session, "north", StudyDeleted(STUDY))
    until(lambda: kept() == 0)


def test_of_a_deleted_study_it_stays_known_which_conditions_were_met_but_no_value(
    database: Database, archive: FakeArchive, pacs: Receiver, host: WorkerHost
) -> None:
    def reasons() -> list[Any]:
        with database.tenant_session("north") as session:
            rows = session.execute(
                "SELECT reason FROM rule_run UNION ALL SELECT reason FROM delivery"
            )
            return [row["reason"] for row in rows]

    archive.add(make_file(1))
    named = {"field": "PatientName", "operator": "contains", "value": "doe"}
    other = {"field": "Modality", "operator": "equals", "value": "CT"}
    rule(database, FORWARD, when={"all": [named, other]})
    arrive(database)
    until(lambda: [d.state for d in deliveries(database)] == ["delivered"])
    assert [told[0]["seen"] for told in reasons()] == [["Doe^Jane"], ["Doe^Jane"]]
    with database.system_session("test") as session:
        publish(session, "north", StudyDeleted(STUDY))
    until(lambda: "Doe^Jane" not in str(reasons()))
    told = [
        {"condition": "PatientName contains doe", "met": True},
        {"condition": "Modality equals CT", "met": True},
    ]
    assert reasons() == [told, told]


def test_a_draft_is_tried_on_past_studies_and_nothing_is_sent(
    database: Database, archive: FakeArchive, pacs: Receiver, host: WorkerHost
) -> None:
    archive.add(make_file(1))
    rule(database, {"label": {"add": ["seen"]}})
    arrive(database)
    until(lambda: state(database) == "done")
    draft = parse_rules([{"name": "Draft", "actions": [RENAME, FORWARD]}])
    with database.tenant_session("north") as session:
        number = tryouts.start(session, draft, most_studies=100, days=None, author="anna")

    def tried() -> tryouts.Tryout:
        with database.tenant_session("north") as session:
            return tryouts.get(session, number)

    until(lambda: tried().state == "done")
    report = tried().report
    assert report["by_deed"] == {"forward to PACS after morph": 1}
    assert report["different"] == [
        {
            "study_instance_uid": STUDY,
            "rules": ["Draft"],
            "does": ["forward to PACS after morph"],
            "live": ["label"],
        }
    ]
    assert not pacs.received


def test_of_two_who_change_the_rules_at_once_one_is_told(database: Database) -> None:
    rule(database, {"label": {"add": ["x"]}})
    with database.tenant_session("north") as session:
        book = rulebook.live(session)
        rulebook.save(session, (), based_on=book.version, actor="anna")
        with pytest.raises(Conflict):
            rulebook.save(session, book.rules, based_on=book.version, actor="ben")
        assert [b.author for b in rulebook.history(session)] == ["anna", "test"]


def test_a_rule_that_forwards_to_nowhere_is_refused(database: Database) -> None:
    with pytest.raises(InvalidInput, match="there is no destination 'PACS'"):
        rule(database, FORWARD)


def test_a_destinations_new_name_is_the_rules_too(database: Database, pacs: Receiver) -> None:
    rule(database, FORWARD)
    with database.tenant_session("north") as session:
        destination = destinations.named(session, "PACS")
        destinations.update_destination(
            session,
            destination.destination_id,
            name="Archive",
            kind="dimse",
            settings={"host": "127.0.0.1", "port": pacs.port, "called_aet": "PACS"},
            enabled=True,
            actor="anna",
        )
        assert rulebook.live(session).rules[0].actions[0].settings == {"to": "Archive"}
