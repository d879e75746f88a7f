"""Which transactions of storage commitment are open, and what was reported on them.

A report comes on the association of the request, or later on one that the destination opens to our
DICOM port: then Orthanc has it, in memory, under a Transaction UID that only we and the destination
know. Here it counts once, for the delivery of which the transaction was made.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import batched

from psycopg.types.json import Jsonb

from extensions.routing import ledger
from extensions.routing.destination_settings import DimseSettings
from extensions.routing.ledger import Delivery, Instance
from extensions.routing.sending import commitment, committing, line
from extensions.routing.sending.commitment import Reference, Report
from gateway.archive import Archive
from gateway.context import TaskContext
from gateway.db import Session
from gateway.errors import ArchiveUnavailable, DestinationUnavailable, NotFound

PORTION = 1000  # instances of one transaction
ASK_AGAIN_AFTER = timedelta(minutes=10)  # what was asked before still counts
LONGEST_PAUSE_S = 120.0


class Unreported(DestinationUnavailable):
    """The destination has not reported on storage commitment.

    It reports on the association of the request, or calls this gateway's DICOM port: then its AE
    title must be listed among the tenant's callers, with host and port.
    """

    def __init__(self, detail: str, delay_s: float) -> None:
        super().__init__(detail)
        self.delay_s = delay_s


@dataclass(frozen=True)
class Transaction:
    """One request: UIDs here by those of the copies; `causes` once there was a report."""

    transaction_uid: str
    instances: dict[str, str]
    causes: dict[str, str] | None
    asked_at: datetime

    @property
    def committed(self) -> set[str]:
        """What it was reported to keep, by the UIDs here."""
        return set(self.instances.values()) - (self.causes or {}).keys()

    @property
    def is_recent(self) -> bool:
        """Whether there may well be a report on it yet."""
        return datetime.now(UTC) - self.asked_at < ASK_AGAIN_AFTER


def forget(session: Session, delivery_id: int) -> bool:
    """Nothing that was asked counts any more. Whether there was something."""
    statement = "DELETE FROM commitment_request WHERE delivery_id = %s"
    return session.execute(statement, [delivery_id]).rowcount > 0


def missing(
    context: TaskContext, delivery: Delivery, settings: DimseSettings, instances: list[Instance]
) -> dict[str, str]:
    """Why the destination commits to some not, by their UIDs here. The others are verified by then.

    Raises `Unreported` until all is reported on, and what `committing.ask` raises.
    """
    with Archive(
        context.settings.orthanc_url, context.settings.internal_token, None, timeout_s=10.0
    ) as archive:
        with context.database.tenant_session(context.tenant_id) as session:
            known = _of(session, delivery.delivery_id)
        for each in known:
            if each.causes is None:
                _look(context, delivery, archive, each.transaction_uid)
        _ask(context, delivery, settings, instances, archive)
    with context.database.tenant_session(context.tenant_id) as session:
        known = _of(session, delivery.delivery_id)
    answers = [each for each in known if each.causes is not None]
    answered = {uid for each in answers for uid in each.instances.values()}
    if any(each.sop_instance_uid not in answered for each in instances):
        raise _unreported(settings, known)
    causes = {uid: why for each in answers for uid, why in (each.causes or {}).items()}
    committed = {uid for each in answers for uid in each.committed}
    return {uid: why for uid, why in causes.items() if uid not in committed}


def _ask(
    context: TaskContext,
    delivery: Delivery,
    settings: DimseSettings,
    instances: list[Instance],
    archive: Archive,
) -> None:
    """Ask for what was not asked for lately, portion by portion."""
    asked = _open(context, delivery, instances)
    try:
        while asked:
            uid, portion = asked[0]
            references = [Reference(each.sop_class_uid, _there(each)) for each in portion]
            is_told = partial(_look, context, delivery, archive, uid)
            report = committing.ask(settings, uid, references, is_told)
            del asked[0]
            if report is not None:
                with context.database.tenant_session(context.tenant_id) as session:
                    settle(session, delivery, uid, report)
    except DestinationUnavailable:
        with context.database.tenant_session(context.tenant_id) as session:
            session.execute(
                "DELETE FROM commitment_request WHERE transaction_uid = ANY(%s)",
                [[uid for uid, _ in asked]],
            )
        raise


def _open(
    context: TaskContext, delivery: Delivery, instances: list[Instance]
) -> list[tuple[str, list[Instance]]]:
    """Transactions for what is in none yet; written down before anybody hears of them."""
    with context.database.tenant_session(context.tenant_id) as session:
        line.lock(session, delivery.destination_id)  # another run may be about to ask the same
        known = _of(session, delivery.delivery_id)
        asked = {
            uid
            for each in known
            if each.causes is not None or each.is_recent
            for uid in each.instances.values()
        }
        todo = [each for each in instances if each.sop_instance_uid not in asked]
        opened = [
            (commitment.new_transaction(), list(part))
            for part in batched(todo, PORTION, strict=False)
        ]
        for uid, part in opened:
            session.execute(
                "INSERT INTO commitment_request "
                "(transaction_uid, tenant_id, delivery_id, instances) VALUES (%s, %s, %s, %s)",
                [
                    uid,
                    context.tenant_id,
                    delivery.delivery_id,
                    Jsonb({_there(each): each.sop_instance_uid for each in part}),
                ],
            )
    return opened


def _look(context: TaskContext, delivery: Delivery, archive: Archive, transaction: str) -> bool:
    """Whether the archive has received a report on a transaction; then it counts."""
    try:
        answer = archive.raw(f"/storage-commitment/{transaction}")
    except (NotFound, ArchiveUnavailable):
        return False
    with context.database.tenant_session(context.tenant_id) as session:
        listed = session.execute(
            "SELECT FROM calling_ae_title WHERE ae_title = %s", [answer["RemoteAET"]]
        ).fetchone()
        if listed is None:  # another tenant's: Orthanc knows the AE titles of all
            context.log.warning("a report on storage commitment is from who is not listed")
            return False
        settle(session, delivery, transaction, commitment.report_of_archive(answer))
    return True


def settle(session: Session, delivery: Delivery, transaction: str, report: Report) -> None:
    """A report on a transaction of the delivery: what is committed is verified.

    Nothing happens unless the transaction is open.
    """
    line.lock(session, delivery.destination_id)
    ledger.lock(session, delivery.delivery_id)
    row = session.execute(
        "SELECT instances FROM commitment_request "
        "WHERE transaction_uid = %s AND delivery_id = %s AND causes IS NULL FOR UPDATE",
        [transaction, delivery.delivery_id],
    ).fetchone()
    if row is None:
        return
    told = {here: report.cause(there) for there, here in row["instances"].items()}
    session.execute(
        "UPDATE commitment_request SET causes = %s WHERE transaction_uid = %s",
        [Jsonb({uid: why for uid, why in told.items() if why}), transaction],
    )
    session.execute(
        "UPDATE delivery_instance SET state = 'verified', verified_at = now() "
        "WHERE delivery_id = %s AND sop_instance_uid = ANY(%s) AND state = 'delivered'",
        [delivery.delivery_id, [uid for uid, why in told.items() if not why]],
    )


def _of(session: Session, delivery_id: int) -> list[Transaction]:
    rows = session.execute(
        "SELECT transaction_uid, instances, causes, asked_at FROM commitment_request "
        "WHERE delivery_id = %s ORDER BY asked_at",
        [delivery_id],
    )
    return [Transaction(**row) for row in rows]


def _there(instance: Instance) -> str:
    return instance.sent_as or instance.sop_instance_uid


def _unreported(settings: DimseSettings, known: list[Transaction]) -> Unreported:
    open_since = [each.asked_at for each in known if each.causes is None]
    age_s = (datetime.now(UTC) - min(open_since, default=datetime.now(UTC))).total_seconds()
    return Unreported(f"{settings.address}.", min(max(age_s, 2.0), LONGEST_PAUSE_S))
