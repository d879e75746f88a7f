"""A modality that asks for storage commitment, and listens for the report."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
from pydicom import Dataset
from pydicom.uid import UID, generate_uid
from pynetdicom import AE, evt
from pynetdicom.events import Event
from pynetdicom.sop_class import (
    CTImageStorage,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from tests.acceptance.conftest import RunningGateway
from tests.ports import free_port, is_listening

ALL_COMMITTED, SOME_FAILED = 1, 2
NO_ANSWER = -1


@dataclass
class Modality:
    """An AE of a tenant, and what was reported to it: (Event Type ID, Event Information)."""

    gateway: RunningGateway
    title: str
    called: str
    port: int
    reports: list[tuple[int, Dataset]] = field(default_factory=list)

    def ask(self, *instances: str, called: str = "", sop_class: str = CTImageStorage) -> str:
        """Ask about instances; the Transaction UID. The N-ACTION is acknowledged."""
        asked = request([(sop_class, uid) for uid in instances])
        assert n_action(self.gateway, asked, self.title, called or self.called) == 0
        return str(asked.TransactionUID)

    def answer(self, transaction: str) -> tuple[int, list[str], dict[str, int]]:
        """The report when it comes: Event Type ID, what is committed, and reasons of the rest."""
        self.gateway.wait_until(lambda: transaction in self.reported, 30)
        ((event, report),) = [it for it in self.reports if it[1].TransactionUID == transaction]
        return (
            event,
            [it.ReferencedSOPInstanceUID for it in report.get("ReferencedSOPSequence", ())],
            {
                it.ReferencedSOPInstanceUID: it.FailureReason
                for it in report.get("FailedSOPSequence", ())
            },
        )

    @property
    def reported(self) -> set[str]:
        """The Transaction UIDs of all reports."""
        return {str(report.TransactionUID) for _, report in self.reports}

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take reports while the block runs."""

        def take(event: Event) -> tuple[int, None]:
            self.reports.append((event.request.EventTypeID, event.event_information))
            return 0, None

        ae = AE(ae_title=self.title)
        ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
        server = ae.start_server(
            ("127.0.0.1", self.port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, take)]
        )
        try:
            yield
        finally:
            server.shutdown()


def request(references: Sequence[tuple[str, str]], transaction: str = "") -> Dataset:
    """The Action Information of a request (PS3.4 table J.3-1)."""
    asked = Dataset()
    asked.TransactionUID = transaction or generate_uid()
    asked.ReferencedSOPSequence = []
    for sop_class, instance in references:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = UID(sop_class), UID(instance)
        asked.ReferencedSOPSequence.append(item)
    return asked


def n_action(
    gateway: RunningGateway,
    asked: Dataset,
    calling: str,
    called: str,
    *,
    patience_s: float = 30,
    tls: tuple[int, ssl.SSLContext] | None = None,
) -> int:
    """The status of an N-ACTION; `NO_ANSWER` when there was none, or the association ended.

    `tls`: another port, where TLS is spoken.
    """
    ae = AE(ae_title=calling)
    ae.dimse_timeout = patience_s
    ae.add_requested_context(StorageCommitmentPushModel)
    port, context = tls or (gateway.dicom_port, None)
    tls_args = (context, "localhost") if context else None
    if not is_listening(port):
        return NO_ANSWER  # pynetdicom forgets to close a socket that was refused
    opened = ae.associate("127.0.0.1", port, ae_title=called, tls_args=tls_args)
    if not opened.is_established:
        return NO_ANSWER
    line = opened.dul.socket.socket
    status, _ = opened.send_n_action(
        asked, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
    )
    if opened.is_established:
        opened.release()
    opened.join()
    line.close()  # pynetdicom forgets to when the peer was faster
    return int(status.get("Status", NO_ANSWER))


def modality(
    gateway: RunningGateway, tenant: str, title: str, *, may_query: bool = False
) -> Modality:
    """An AE that a tenant lists with a place of its own."""
    made = Modality(gateway, title, tenant.upper(), free_port())
    run_sql(
        gateway,
        "INSERT INTO calling_ae_title (tenant_id, ae_title, may_query, host, port) "
        "VALUES (%s, %s, %s, '127.0.0.1', %s)",
        tenant, title, may_query, made.port,
    )  # fmt: skip
    return made


def run_sql(gateway: RunningGateway, statement: str, *values: object) -> None:
    """As the owner of the database."""
    with psycopg.connect(
        f"host={gateway.data}/run/postgresql user=argonath dbname=argonath"
    ) as owner:
        owner.execute(statement.encode(), values)
