"""Deliveries verified by storage commitment: who reports, when, what, and who has no say."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from pydicom import Dataset
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    Verification,
)

from extensions.routing import destinations, ledger, progress
from extensions.routing.destination_settings import DimseSettings
from extensions.routing.ledger import Delivery, Instance
from extensions.routing.progress import Outcome
from extensions.routing.sending import connection, transactions, verifying
from extensions.routing.sending.commitment import Report
from gateway.actions import Actions, Subject
from gateway.archive import Archive, Reference
from gateway.context import TaskContext
from gateway.db import Database
from gateway.jobs import Postpone
from gateway.settings import Settings
from tests.integration.routing.conftest import SERIES, STUDY, FakeArchive, Receiver, make_file
from tests.integration.routing.test_forwarding import arrive, delivery, state
from tests.integration.routing.test_kinds import forward_to
from tests.integration.worker_host import WorkerHost, until


class ReportingArchive(FakeArchive):
    """Has received reports, as Orthanc keeps them."""

    def __init__(self) -> None:
        self.reports: dict[str, dict[str, Any]] = {}
        super().__init__()

    def found(self, path: str, plain: bool) -> tuple[int, bytes]:
        if path.startswith("/storage-commitment/"):
            report = self.reports.get(path.rpartition("/")[2])
            return (404, b"") if report is None else (200, json.dumps(report).encode())
        return super().found(path, plain)

    def told(self, transaction: str, committed: list[str], *, by: str = "PACS") -> None:
        success = [{"SOPClassUID": "1.2", "SOPInstanceUID": uid} for uid in committed]
        self.reports[transaction] = {"RemoteAET": by, "Success": success, "Failures": []}


class Committing(Receiver):
    """Commits to what it has and did not lose; reports at once on the association, or not."""

    def start(self) -> None:
        self.lost: set[str] = getattr(self, "lost", set())
        self.asked: list[Dataset] = []
        self.asked_before: list[int] = []  # how often, for each instance that came
        self.reports = True
        self.status = 0x0000
        ae = AE(ae_title="PACS")
        for context in AllStoragePresentationContexts:
            assert context.abstract_syntax is not None
            ae.add_supported_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES)
        ae.add_supported_context(StorageCommitmentPushModel)
        ae.add_supported_context(Verification)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_N_ACTION, self._commit)]
        self._server = ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)
        self.port = self._server.server_address[1]  # type: ignore[union-attr]

    def _answer(self, event: evt.Event) -> int:
        self.asked_before.append(len(self.asked))
        return super()._answer(event)

    def _commit(self, event: evt.Event) -> tuple[int, None]:
        asked = event.action_information
        self.asked.append(asked)
        if self.reports and not self.status:
            threading.Timer(0.1, self._report, [event.assoc, asked]).start()
        return self.status, None

    def _report(self, association: Any, asked: Dataset) -> None:
        report, failed = Dataset(), []
        report.TransactionUID = asked.TransactionUID
        kept = []
        for item in asked.ReferencedSOPSequence:
            uid = item.ReferencedSOPInstanceUID
            if uid in self.files and uid not in self.lost:
                kept.append(item)
            else:
                item.FailureReason = 0x0112
                failed.append(item)
        report.ReferencedSOPSequence = kept
        if failed:
            report.FailedSOPSequence = failed
        association.send_n_event_report(
            report,
            2 if failed else 1,
            StorageCommitmentPushModel,
            StorageCommitmentPushModelInstance,
        )


@pytest.fixture
def archive() -> Iterator[ReportingArchive]:
    archive = ReportingArchive()
    yield archive
    archive.close()


@pytest.fixture
def pacs() -> Iterator[Committing]:
    receiver = Committing()
    yield receiver
    receiver.stop()


def commit_at(database: Database, port: int) -> None:
    there = {"host": "127.0.0.1", "port": port, "called_aet": "PACS", "verify": "commitment"}
    forward_to(database, "dimse", **there)


def listed(database: Database, tenant: str, title: str) -> None:
    with database.system_session("test") as session:
        session.execute(
            "INSERT INTO calling_ae_title (tenant_id, ae_title, host, port) "
            "VALUES (%s, %s, '127.0.0.1', 104)",
            [tenant, title],
        )


def opened(database: Database, tenant: str = "north") -> list[str]:
    """The transactions that wait for their report."""
    with database.tenant_session(tenant) as session:
        rows = session.execute(
            "SELECT transaction_uid FROM commitment_request WHERE causes IS NULL"
        )
        return [row["transaction_uid"] for row in rows]


def the_delivery(database: Database) -> Delivery:
    found = delivery(database)
    assert found is not None
    return found


def instances(database: Database) -> list[Instance]:
    with database.tenant_session("north") as session:
        return ledger.instances_of(session, the_delivery(database).delivery_id)


def hurry(database: Database) -> None:
    with database.system_session("test") as session:
        session.execute("UPDATE job SET run_at = now() WHERE task = 'verify' AND state = 'waiting'")
        session.execute("SELECT pg_notify('argonath_job', '')")


def test_what_is_reported_as_committed_on_our_association_is_verified(
    database: Database, archive: ReportingArchive, pacs: Committing, host: WorkerHost
) -> None:
    archive.add(*(make_file(n) for n in range(5)))
    commit_at(database, pacs.port)
    arrive(database)
    until(lambda: state(database) == "verified")
    (asked,) = pacs.asked
    names = {
        (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID)
        for item in asked.ReferencedSOPSequence
    }
    assert names == {(i.sop_class_uid, i.sop_instance_uid) for i in instances(database)}
    assert all(i.verified_at for i in instances(database))
    assert set(pacs.received.values()) == {1}
    until(lambda: not transactions_of(database))
    assert verdicts(database) == ["at dimse: 5 found"]


def verdicts(database: Database) -> list[str]:
    """What the audit was told of verifications."""
    with database.tenant_session("north") as session:
        told = session.execute("SELECT detail FROM audit WHERE action = 'verify-delivery'")
        return [row["detail"] for row in told]


def transactions_of(database: Database) -> int:
    with database.tenant_session("north") as session:
        return len(session.execute("SELECT FROM commitment_request").fetchall())


def test_what_is_not_committed_to_is_sent_again_with_its_reason(
    database: Database, archive: ReportingArchive, pacs: Committing, host: WorkerHost
) -> None:
    archive.add(*(make_file(n) for n in range(3)))
    pacs.lost = {f"{SERIES}.1"}
    commit_at(database, pacs.port)
    arrive(database)
    until(lambda: pacs.received[f"{SERIES}.1"] == 2, 60)
    assert pacs.asked_before == [0, 0, 0, verifying.CHECKS]
    pacs.lost = set()
    until(lambda: state(database) == "verified", 60)
    assert sorted(pacs.received.values()) == [1, 1, 2]


def test_what_is_never_committed_to_fails_with_its_reason(
    database: Database,
    archive: ReportingArchive,
    pacs: Committing,
    host: WorkerHost,
) -> None:
    archive.add(*(make_file(n) for n in range(2)))
    pacs.lost = {f"{SERIES}.1"}
    commit_at(database, pacs.port)
    arrive(database)

    def failed() -> bool:
        hurry(database)
        return state(database) == "failed"

    until(failed, 90)
    told = {i.sop_instance_uid: (i.state, i.cause) for i in instances(database)}
    assert told[f"{SERIES}.0"] == ("verified", "")
    assert told[f"{SERIES}.1"][0] == "failed"
    assert "0x0112 no such object instance" in told[f"{SERIES}.1"][1]
    assert pacs.received[f"{SERIES}.1"] == verifying.MOST_SENDINGS


def test_a_report_that_orthanc_received_later_counts_once_and_after_a_killed_worker(
    database: Database, archive: ReportingArchive, pacs: Committing, settings: Settings
) -> None:
    archive.add(*(make_file(n) for n in range(3)))
    pacs.reports = False
    commit_at(database, pacs.port)
    listed(database, "north", "PACS")
    host = WorkerHost(settings)
    try:
        arrive(database)
        (transaction,) = until(lambda: opened(database))
        until(lambda: pacs.asked)
        assert state(database) == "delivered"
        host.kill()
        archive.told(transaction, sorted(pacs.files))
        with database.system_session("test") as session:
            session.execute("UPDATE job SET lease_until = now() WHERE state = 'running'")
        host = WorkerHost(settings)

        def verified() -> bool:
            hurry(database)
            return state(database) == "verified"

        until(verified)
    finally:
        host.kill()
    assert [str(each.TransactionUID) for each in pacs.asked] == [transaction]
    assert set(pacs.received.values()) == {1}


@pytest.fixture
def waiting(
    database: Database, archive: ReportingArchive, pacs: Committing, host: WorkerHost
) -> str:
    """The transaction of a delivery of north's that waits for its report."""
    archive.add(*(make_file(n) for n in range(3)))
    pacs.reports = False
    commit_at(database, pacs.port)
    listed(database, "north", "PACS")
    listed(database, "south", "SOUTHPACS")
    arrive(database)
    (transaction,) = until(lambda: opened(database))
    until(lambda: pacs.asked)
    return transaction


def looked(database: Database) -> None:
    """Have the worker look for reports twice; once it may have been about to end."""
    for _ in range(2):
        with database.system_session("test") as session:
            before = session.execute(
                "SELECT coalesce(max(attempts), 0) AS n FROM job WHERE task = 'verify'"
            ).fetchone()

        def again(before: Any = before) -> bool:
            hurry(database)
            with database.system_session("test") as session:
                row = session.execute(
                    "SELECT max(attempts) > %s AND bool_and(state = 'waiting') AS again "
                    "FROM job WHERE task = 'verify'",
                    [before["n"]],
                ).fetchone()
            return bool(row and row["again"])

        until(again, 30)


@pytest.mark.parametrize("by", ["SOUTHPACS", "NOBODY"])
def test_a_report_from_who_the_tenant_does_not_list_changes_nothing(
    database: Database, archive: ReportingArchive, pacs: Committing, waiting: str, by: str
) -> None:
    archive.told(waiting, sorted(pacs.files), by=by)
    looked(database)
    assert (state(database), opened(database)) == ("delivered", [waiting])
    archive.told(waiting, sorted(pacs.files))
    until(lambda: hurry(database) or state(database) == "verified", 30)


def test_a_report_on_a_transaction_that_nobody_opened_changes_nothing(
    database: Database, archive: ReportingArchive, pacs: Committing, waiting: str
) -> None:
    archive.told("2.25.4711", sorted(pacs.files))
    looked(database)
    assert (state(database), opened(database)) == ("delivered", [waiting])


def test_one_delivery_is_not_verified_by_the_transaction_of_another_tenants(
    database: Database, archive: ReportingArchive, pacs: Committing, waiting: str
) -> None:
    report = Report(frozenset(pacs.files), {})
    with database.tenant_session("south") as session:
        transactions.settle(session, the_delivery(database), waiting, report)
    assert (state(database), opened(database)) == ("delivered", [waiting])


def test_a_report_verifies_only_what_its_transaction_asked_about(
    database: Database, archive: ReportingArchive, pacs: Committing, waiting: str
) -> None:
    found = the_delivery(database)
    with database.tenant_session("north") as session:
        session.execute(
            "UPDATE commitment_request SET instances = %s",
            [json.dumps({f"{SERIES}.0": f"{SERIES}.0"})],
        )
        transactions.settle(session, found, waiting, Report(frozenset(pacs.files), {}))
        verified = ledger.instances_of(session, found.delivery_id, states=["verified"])
    assert [each.sop_instance_uid for each in verified] == [f"{SERIES}.0"]


def test_without_a_report_it_is_asked_again_and_the_first_still_counts(
    database: Database, archive: ReportingArchive, pacs: Committing, waiting: str
) -> None:
    with database.tenant_session("north") as session:
        session.execute("UPDATE commitment_request SET asked_at = now() - interval '11 minutes'")
    until(lambda: hurry(database) or len(pacs.asked) == 2, 30)
    looked(database)
    archive.told(waiting, sorted(pacs.files))
    archive.told(str(pacs.asked[1].TransactionUID), [])
    until(lambda: hurry(database) or verdicts(database) == ["at dimse: 3 found"], 30)
    assert state(database) == "verified"
    assert set(pacs.received.values()) == {1}


def test_after_an_hour_without_a_report_it_stays_delivered_and_says_why(
    database: Database, archive: ReportingArchive, pacs: Committing, waiting: str
) -> None:
    with database.tenant_session("north") as session:
        session.execute("UPDATE delivery SET updated_at = now() - interval '61 minutes'")
    until(lambda: hurry(database) or the_delivery(database).last_error, 30)
    found = the_delivery(database)
    assert found.state == "delivered"
    assert "has not reported on storage commitment" in str(found.last_error)
    assert "listed" in str(found.last_error)
    assert timedelta(hours=1) == verifying.GIVE_UP_AFTER
    archive.told(waiting, sorted(pacs.files))  # too late
    assert opened(database) == []


@pytest.mark.parametrize("status", [0x0122, 0x0211, None])
def test_a_destination_that_does_none_is_named_at_once_and_by_the_test_of_its_connection(
    database: Database,
    archive: ReportingArchive,
    pacs: Committing,
    receiver: Receiver,
    host: WorkerHost,
    tmp_path: Any,
    status: int | None,
) -> None:
    archive.add(make_file(1))
    there = pacs if status else receiver  # which has no presentation context for it
    pacs.status = status or 0
    commit_at(database, there.port)
    arrive(database)
    found = until(lambda: (d := delivery(database)) and d.last_error and d)
    assert found.state == "delivered"
    assert "does no storage commitment" in str(found.last_error)
    assert (f"0x{status:04X}" if status else "no presentation context") in str(found.last_error)
    settings = DimseSettings(
        host="127.0.0.1", port=there.port, called_aet="PACS", verify="commitment"
    )
    check = connection.test_connection(settings, tmp_path)[-1]
    assert (check.name, check.passed) == ("N-ACTION for storage commitment", False)
    assert "Have its delivered instances verified by a query" in check.detail


def test_the_test_of_a_connection_says_that_requests_are_taken(
    pacs: Committing, tmp_path: Any
) -> None:
    pacs.reports = False
    settings = DimseSettings(
        host="127.0.0.1", port=pacs.port, called_aet="PACS", verify="commitment"
    )
    found = connection.test_connection(settings, tmp_path)
    assert [check.passed for check in found] == [True] * 4
    assert len(pacs.asked) == 1


def test_a_big_delivery_is_asked_for_in_portions(
    database: Database,
    archive: ReportingArchive,
    pacs: Committing,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    archive.add(*(make_file(n) for n in range(5)))
    pacs.lost = {f"{SERIES}.4"}
    monkeypatch.setattr(transactions, "PORTION", 2)
    commit_at(database, pacs.port)
    pacs.files = dict(archive.files)
    with database.tenant_session("north") as session:
        held = tuple(Reference(uid, SERIES, "1.2") for uid in sorted(archive.files))
        to = destinations.named(session, "dimse")
        delivery_id, _ = progress.plan(session, to, Subject(STUDY, held, "rule"))
        for uid in archive.files:
            progress.record(session, delivery_id, Outcome(uid, True, False, "0x0000"))
    log = logging.getLogger("test")
    with Archive(settings.orthanc_url, "internal", "north") as north:
        context = TaskContext("north", settings, database, north, log, Actions([]))
        with pytest.raises(Postpone):
            verifying.run(context, delivery_id)
    assert [len(each.ReferencedSOPSequence) for each in pacs.asked] == [2, 2, 1]
    assert len({each.TransactionUID for each in pacs.asked}) == 3
    assert [i.state for i in instances(database)] == ["verified"] * 4 + ["delivered"]
