"""Deliveries verified by storage commitment, with another Orthanc and with a PACS of our own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import httpx
import psycopg
import pytest
from pydicom import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import (
    CTImageStorage,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from tests.acceptance.committing import request, run_sql
from tests.acceptance.conftest import RunningGateway, make_gateway
from tests.acceptance.line import Line
from tests.acceptance.routing.test_destinations import becomes, destination, send, slices
from tests.acceptance.routing.test_forwarding import ledger
from tests.bench.stock import StockOrthanc, running
from tests.ports import is_listening


@pytest.fixture(scope="module")
def gateway() -> Iterator[RunningGateway]:
    """One of its own: whom north lists here would be the only ones to send to it."""
    running = make_gateway(stable_after_s="2", retry_delay_s="0.5")
    running.north_key = running.argonath("api-key", "create", "--tenant", "north")
    yield running
    running.stop()


@contextmanager
def caller(gateway: RunningGateway, tenant: str, title: str) -> Iterator[None]:
    """An AE title that a tenant lists with host and port."""
    run_sql(
        gateway,
        "INSERT INTO calling_ae_title (tenant_id, ae_title, host, port) "
        "VALUES (%s, %s, '127.0.0.1', 104)",
        tenant,
        title,
    )
    yield
    run_sql(gateway, "DELETE FROM calling_ae_title WHERE ae_title = %s", title)


@pytest.fixture(scope="module")
def orthanc(
    gateway: RunningGateway, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StockOrthanc]:
    """Another Orthanc, which knows where to report to."""
    folder = tmp_path_factory.mktemp("other") / "orthanc"
    ours = {"AET": "ARGONATH", "Host": "127.0.0.1", "Port": gateway.dicom_port}
    with (
        running(folder, DicomModalities={"gateway": ours}) as stock,
        caller(gateway, "north", "ORTHANC"),
    ):
        yield stock


def test_another_orthanc_reports_to_our_dicom_port(
    gateway: RunningGateway, orthanc: StockOrthanc
) -> None:
    there = {"host": "127.0.0.1", "port": orthanc.dicom_port, "called_aet": "ORTHANC"}
    with destination(gateway, "dimse", **there, verify="commitment") as patient:
        study, _ = send(gateway, patient, *slices(patient, 5))
        becomes(gateway, study, verified=5)


def test_what_another_orthanc_has_lost_is_sent_to_it_again(
    gateway: RunningGateway, orthanc: StockOrthanc
) -> None:
    before = httpx.get(f"{orthanc.url}/instances").json()

    def arrived() -> list[str]:
        return [it for it in httpx.get(f"{orthanc.url}/instances").json() if it not in before]

    with (
        closing(Line(orthanc.dicom_port)) as line,
        destination(
            gateway, "dimse", host="127.0.0.1", port=line.port, called_aet="ORTHANC",
            verify="commitment",
        ) as patient,
    ):  # fmt: skip
        files = slices(patient, 3)
        line.hold_after(len(files[0]) * 4 // 3)  # so the first is lost before anybody asks
        study, _ = send(gateway, patient, *files)
        gateway.wait_until(arrived, 60)
        (lost,) = arrived()
        httpx.delete(f"{orthanc.url}/instances/{lost}").raise_for_status()
        line.mend()
        becomes(gateway, study, verified=3)
        assert lost in arrived()


class Pacs:
    """Takes images and requests; reports when it is told to, as whom it is told to."""

    def __init__(self, gateway: RunningGateway) -> None:
        self._gateway = gateway
        self.stored: list[str] = []
        self.asked: list[Dataset] = []
        self.reports_at_once = False
        ae = AE(ae_title="PACS")
        ae.add_supported_context(CTImageStorage)
        ae.add_supported_context(StorageCommitmentPushModel)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_N_ACTION, self._commit)]
        self.server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.place = {
            "host": "127.0.0.1",
            "port": self.server.server_address[1],
            "called_aet": "PACS",
            "verify": "commitment",
        }

    def _store(self, event: evt.Event) -> int:
        self.stored.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000

    def _commit(self, event: evt.Event) -> tuple[int, None]:
        self.asked.append(event.action_information)
        if self.reports_at_once:
            asked = str(self.asked[-1].TransactionUID)
            threading.Timer(0.1, self._tell, [event.assoc, asked]).start()
        return 0x0000, None

    def report(self, title: str, transaction: str) -> int:
        """The status of a report, that everything is committed; -1: none."""
        if not is_listening(self._gateway.dicom_port):
            return -1  # pynetdicom forgets to close a socket that was refused
        ae = AE(ae_title=title)
        ae.add_requested_context(StorageCommitmentPushModel)
        opened = ae.associate(
            "127.0.0.1",
            self._gateway.dicom_port,
            ae_title="ARGONATH",
            ext_neg=[build_role(StorageCommitmentPushModel, scp_role=True)],
        )
        if not opened.is_established:
            return -1
        line = opened.dul.socket.socket
        status = self._tell(opened, transaction)
        if opened.is_established:
            opened.release()
        opened.join()
        line.close()  # pynetdicom forgets to when the peer was faster
        return status

    def _tell(self, association: Association, transaction: str) -> int:
        status, _ = association.send_n_event_report(
            request([(CTImageStorage, uid) for uid in self.stored], transaction),
            1,
            StorageCommitmentPushModel,
            StorageCommitmentPushModelInstance,
        )
        return int(status.get("Status", -1))


@pytest.fixture
def pacs(gateway: RunningGateway) -> Iterator[Pacs]:
    with caller(gateway, "north", "PACS"), caller(gateway, "south", "SOUTHPACS"):
        pacs = Pacs(gateway)
        yield pacs
        pacs.server.shutdown()


def test_a_pacs_that_nobody_lists_reports_on_our_association(gateway: RunningGateway) -> None:
    pacs = Pacs(gateway)
    pacs.reports_at_once = True
    with destination(gateway, "dimse", **pacs.place) as patient:
        study, _ = send(gateway, patient, *slices(patient, 2))
        becomes(gateway, study, verified=2)
    pacs.server.shutdown()
    assert len(pacs.asked) == 1


def look(gateway: RunningGateway) -> None:
    """Have the worker look for reports, now."""
    run_sql(gateway, "UPDATE job SET run_at = now() WHERE task = 'verify' AND state = 'waiting'")
    run_sql(gateway, "SELECT pg_notify('argonath_job', '')")


def runs(gateway: RunningGateway) -> int:
    """How often workers have verified, or tried to."""
    with psycopg.connect(
        f"host={gateway.data}/run/postgresql user=argonath dbname=argonath"
    ) as owner:
        row = owner.execute("SELECT sum(attempts) FROM job WHERE task = 'verify'").fetchone()
    return int(row[0] or 0) if row else 0


def test_a_forged_report_changes_nothing(gateway: RunningGateway, pacs: Pacs) -> None:
    with destination(gateway, "dimse", **pacs.place) as patient:
        study, _ = send(gateway, patient, *slices(patient, 2))
        gateway.wait_until(lambda: pacs.asked, 60)
        transaction = str(pacs.asked[0].TransactionUID)
        # The first is taken as soon as the node has heard that south lists it.
        gateway.wait_until(lambda: pacs.report("SOUTHPACS", "2.25.4711") == 0)
        assert pacs.report("PACS", "2.25.4712") == 0  # an unknown transaction
        assert pacs.report("SOUTHPACS", transaction) == 0  # by whom another tenant lists
        assert pacs.report("NOBODY", transaction) == -1  # Orthanc hangs up
        before = runs(gateway)
        gateway.wait_until(lambda: look(gateway) or runs(gateway) >= before + 2, 60)
        assert ledger(gateway, study) == {"delivered": 2}
        assert pacs.report("PACS", transaction) == 0
        gateway.wait_until(lambda: look(gateway) or ledger(gateway, study) == {"verified": 2}, 60)
    assert len(pacs.stored) == 2


def test_a_report_counts_although_everything_was_killed_since_it_was_asked_for(
    gateway: RunningGateway, pacs: Pacs
) -> None:
    with destination(gateway, "dimse", **pacs.place) as patient:
        study, _ = send(gateway, patient, *slices(patient, 2))
        gateway.wait_until(lambda: pacs.asked, 60)
        for program in ("edge:worker", "node:orthanc", "stores:redis", "stores:postgresql"):
            gateway.kill(program)
        gateway.wait_until(gateway.is_ready, 120)
        transaction = str(pacs.asked[0].TransactionUID)
        gateway.wait_until(lambda: pacs.report("PACS", transaction) == 0)

        def verified() -> bool:
            look(gateway)
            return ledger(gateway, study) == {"verified": 2}

        gateway.wait_until(verified, 120)
    assert len(pacs.asked) == 1
    assert len(pacs.stored) == 2
