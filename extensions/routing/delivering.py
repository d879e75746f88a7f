"""One run of a delivery: everything that the destination has not acknowledged, each at most once.

Only one run at a time goes to a destination: a slow or hanging one never takes more than one
worker. PostgreSQL's advisory lock does that, because it ends with a killed worker's connection.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from extensions.routing import destinations, ledger, progress
from extensions.routing.destinations import Destination
from extensions.routing.ledger import Delivery, Instance
from extensions.routing.progress import Outcome
from extensions.routing.sending import Sender, open_sender
from gateway import audit
from gateway.context import TaskContext
from gateway.errors import DestinationUnavailable, NotFound
from gateway.jobs import Postpone, backoff_s, jittered_s

LONGEST_PAUSE_S = 120.0
SWITCHED_OFF_S = 60.0
MOST_REFUSALS_IN_A_ROW = 3  # "out of resources" so often: leave the destination alone
MOST_ATTEMPTS = 20  # of one instance that the destination always refuses "for now"


def run(context: TaskContext, delivery_id: int) -> None:
    """Deliver; raises `Postpone` while the destination cannot be reached."""
    with _lock(context, delivery_id):
        found = _prepare(context, delivery_id)
        if found is None:
            return
        delivery, destination, todo = found
        try:
            with open_sender(destination.settings) as sender:
                _send_all(context, delivery, destination, sender, todo)
        except DestinationUnavailable as error:
            _pause(context, delivery, destination, error)
        except Exception as error:
            with context.database.tenant_session(context.tenant_id) as session:
                progress.wait(session, delivery_id, error=type(error).__name__, delay_s=0)
            raise
        _tell(context, delivery)


@contextmanager
def _lock(context: TaskContext, delivery_id: int) -> Iterator[None]:
    with context.database.tenant_session(context.tenant_id) as session:
        row = session.execute(
            """
            SELECT pg_try_advisory_xact_lock(hashtextextended(
                'routing:' || coalesce('to' || destination_id, 'of' || delivery_id), 0)) AS ours
            FROM delivery WHERE delivery_id = %s
            """,
            [delivery_id],
        ).fetchone()
        if row is not None and not row["ours"]:
            raise Postpone(jittered_s(1.5), "Another delivery to the destination runs.")
        yield


def _prepare(
    context: TaskContext, delivery_id: int
) -> tuple[Delivery, Destination, list[Instance]] | None:
    """What is to be sent and where to; None: nothing can or need be."""
    with context.database.tenant_session(context.tenant_id) as session:
        todo = progress.outstanding(session, delivery_id)
        if not todo:
            return None
        delivery = ledger.get_delivery(session, delivery_id)
        try:
            destination = destinations.get_destination(session, delivery.destination_id or 0)
        except NotFound:
            progress.fail_all(session, delivery_id, "The destination was removed.")
            return None
        pause_s, why = _pause_left(destination)
        if pause_s > 0:
            progress.wait(session, delivery_id, error=why, delay_s=pause_s)
        else:
            progress.begin(session, delivery_id)
    if pause_s > 0:
        raise Postpone(pause_s, why)
    return delivery, destination, todo


def _pause_left(destination: Destination) -> tuple[float, str]:
    if not destination.enabled:
        return SWITCHED_OFF_S, "The destination is switched off."
    if destination.retry_in_s > 0:
        return destination.retry_in_s + jittered_s(0.2), destination.last_error or ""
    return 0.0, ""


def _send_all(
    context: TaskContext,
    delivery: Delivery,
    destination: Destination,
    sender: Sender,
    todo: list[Instance],
) -> None:
    refusals, later, answered = 0, "", False
    for instance in todo:
        outcome = _send(context, delivery, sender, instance)
        with context.database.tenant_session(context.tenant_id) as session:
            progress.record(session, delivery.delivery_id, outcome)
            if outcome.delivered and not answered:
                progress.reached(session, destination.destination_id, delivery.delivery_id)
                answered = True
        postponed = not outcome.delivered and not outcome.permanent
        refusals = refusals + 1 if postponed else 0
        later = f"{outcome.remote_status}: {outcome.cause}" if postponed else later
        if refusals >= MOST_REFUSALS_IN_A_ROW:
            break
    if later:
        raise DestinationUnavailable(later)


def _send(context: TaskContext, delivery: Delivery, sender: Sender, instance: Instance) -> Outcome:
    uid = instance.sop_instance_uid
    try:
        file = context.archive.file_of(
            delivery.study_instance_uid, instance.series_instance_uid, uid
        )
    except NotFound:
        return Outcome(uid, False, True, "", "It is no longer in the archive.")
    with context.database.tenant_session(context.tenant_id) as session:
        session.execute("SET LOCAL synchronous_commit = off")  # what is lost here is only a hint
        progress.sending(session, delivery.delivery_id, uid)
    outcome = sender.send(instance, file)
    if not outcome.delivered and instance.attempts + 1 >= MOST_ATTEMPTS:
        return Outcome(uid, False, True, outcome.remote_status, outcome.cause)
    return outcome


def _pause(
    context: TaskContext,
    delivery: Delivery,
    destination: Destination,
    error: DestinationUnavailable,
) -> None:
    first_s = context.settings.retry_delay_s
    delay_s = backoff_s(first_s, destination.failures + 1, LONGEST_PAUSE_S)
    with context.database.tenant_session(context.tenant_id) as session:
        progress.unreachable(
            session, destination.destination_id, error=error.detail, delay_s=delay_s
        )
        progress.wait(session, delivery.delivery_id, error=error.detail, delay_s=delay_s)
    raise Postpone(delay_s, error.detail) from error


def _tell(context: TaskContext, before: Delivery) -> None:
    with context.database.tenant_session(context.tenant_id) as session:
        delivery = ledger.get_delivery(session, before.delivery_id)
        if delivery.state not in {"delivered", "failed"}:
            return
        record = audit.Record(
            actor="routing",
            action="deliver-study",
            resource=f"study {delivery.study_instance_uid}",
            verdict="allowed" if delivery.state == "delivered" else "failed",
            tenant_id=context.tenant_id,
            detail=f"to {delivery.destination_name}: {delivery.delivered} of {delivery.total}",
        )
        audit.append(session, record)
