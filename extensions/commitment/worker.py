"""Storage commitment in the worker host: the N-EVENT-REPORT to the modality (PS3.4 J.3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pynetdicom import AE, build_role
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from extensions.commitment.report import Answered, event_information, event_type
from gateway import audit
from gateway.context import TaskContext
from gateway.errors import DestinationUnavailable, GatewayError, UnknownAETitle
from gateway.jobs import task

TIMEOUT_S = 10.0
ANSWER_S = 60.0


@task
def report(
    context: TaskContext,
    called: str,
    calling: str,
    transaction: str,
    references: Sequence[Sequence[Any]],
) -> None:
    """Tell `calling` what became of its request; each attempt is audited.

    Raises `DestinationUnavailable`, which is tried again, or `UnknownAETitle` when the tenant
    lists no place for it any more.
    """
    answers = [Answered(*it) for it in references]
    try:
        host, port = _place(context, calling)
        _send(called, calling, (host, port), transaction, answers)
    except GatewayError as error:
        _note(context, transaction, "failed", error.message)
        raise
    _note(context, transaction, "allowed", f"reported to {calling} at {host}:{port}")


def _place(context: TaskContext, calling: str) -> tuple[str, int]:
    """Where the tenant says that the modality is now."""
    with context.database.tenant_session(context.tenant_id) as session:
        row = session.execute(
            "SELECT host, port FROM calling_ae_title "
            "WHERE ae_title = %s AND host IS NOT NULL AND port IS NOT NULL",
            [calling],
        ).fetchone()
    if row is None:
        raise UnknownAETitle(f"{calling!r} has no host and port any more.")
    return row["host"], row["port"]


def _send(
    called: str, calling: str, place: tuple[str, int], transaction: str, answers: list[Answered]
) -> None:
    ae = AE(ae_title=called)
    ae.connection_timeout = ae.acse_timeout = TIMEOUT_S
    ae.dimse_timeout = ae.network_timeout = ANSWER_S
    ae.add_requested_context(StorageCommitmentPushModel)
    try:
        association = ae.associate(
            *place,
            ae_title=calling,
            # We serve, although we are the one who calls.
            ext_neg=[build_role(StorageCommitmentPushModel, scp_role=True)],
        )
    except OSError as error:
        raise DestinationUnavailable(f"{place[0]} cannot be resolved.") from error
    if not association.is_established:
        raise DestinationUnavailable(f"{calling} at {place[0]}:{place[1]}: no association.")
    try:
        _tell(association, transaction, answers)
    finally:
        association.release()


def _tell(association: Association, transaction: str, answers: list[Answered]) -> None:
    try:
        status, _ = association.send_n_event_report(
            event_information(transaction, answers),
            event_type(answers),
            StorageCommitmentPushModel,
            StorageCommitmentPushModelInstance,
        )
    except (RuntimeError, ValueError) as error:  # it hung up, or accepted no such context
        raise DestinationUnavailable("It takes no N-EVENT-REPORT.") from error
    if "Status" not in status:
        raise DestinationUnavailable("It did not answer the N-EVENT-REPORT.")
    if status.Status != 0:
        raise DestinationUnavailable(f"It answered the N-EVENT-REPORT by 0x{status.Status:04X}.")


def _note(context: TaskContext, transaction: str, verdict: audit.Verdict, detail: str) -> None:
    record = audit.Record(
        actor="argonath",
        action="report-commitment",
        resource=f"transaction {transaction}",
        verdict=verdict,
        tenant_id=context.tenant_id,
        detail=detail,
    )
    with context.database.tenant_session(context.tenant_id) as session:
        audit.append(session, record)
