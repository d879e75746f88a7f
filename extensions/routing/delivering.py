"""One run of a delivery: everything that the destination has not acknowledged, each at most once.

Only one run at a time goes to a destination: a slow or hanging one never takes more than one
worker. PostgreSQL's advisory lock does that, because it ends with a killed worker's connection.
A run that lost it (PostgreSQL was restarted) finds out by its number before it sends the next.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from extensions.routing import destinations, ledger, progress
from extensions.routing.copies import Copier
from extensions.routing.destinations import Destination
from extensions.routing.ledger import Delivery, Instance
from extensions.routing.progress import LONGEST_PAUSE_S, Outcome
from extensions.routing.sending import Sender, open_sender
from gateway import audit
from gateway.actions import NeedsPerson
from gateway.context import TaskContext
from gateway.errors import (
    DatabaseUnavailable,
    DestinationUnavailable,
    GatewayError,
    NotFound,
    SecretUnreadable,
)
from gateway.jobs import Postpone, jittered_s

SWITCHED_OFF_S = 60.0
TURN_S = 30.0
RECORD_S = 60.0
MOST_REFUSALS_IN_A_ROW = 3  # "out of resources" so often: leave the destination alone
MOST_ATTEMPTS = 20  # of one instance that the destination always refuses "for now"


def run(context: TaskContext, delivery_id: int, destination_id: int | None) -> None:
    """Deliver; raises `Postpone` while the destination cannot be reached."""
    try:
        with _turn(context, destination_id):
            found = _prepare(context, delivery_id, destination_id)
            if found is not None:
                _deliver(context, *found)
    except GatewayError as error:
        if not error.permanent:
            raise
        # A delivery ends in its ledger, never because its job has given up.
        raise Postpone(LONGEST_PAUSE_S, error.message) from error
    with context.database.tenant_session(context.tenant_id) as session:
        ledger.hurry_next(session, destination_id)


@contextmanager
def _turn(context: TaskContext, destination_id: int | None) -> Iterator[None]:
    with context.database.tenant_session(context.tenant_id) as session:
        row = session.execute(
            "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0)) AS ours",
            [f"routing: to {destination_id}"],
        ).fetchone()
        if row is None or not row["ours"]:
            # Whoever runs hurries the next one; this is for when that one is killed.
            raise Postpone(jittered_s(TURN_S), "Another delivery to the destination runs.")
        yield


def _prepare(
    context: TaskContext, delivery_id: int, destination_id: int | None
) -> tuple[Delivery, Destination, list[Instance]] | None:
    """What is to be sent and where to; None: nothing can or need be."""
    with context.database.tenant_session(context.tenant_id) as session:
        todo = progress.outstanding(session, delivery_id)
        if not todo:
            return None
        try:
            destination = destinations.get_destination(session, destination_id or 0)
        except NotFound:
            progress.fail_all(session, delivery_id, "The destination was removed.")
            return None
        pause_s, why = _pause_left(destination)
        if pause_s <= 0:
            progress.begin(session, delivery_id)
        delivery = ledger.get_delivery(session, delivery_id)
        if pause_s > 0:
            progress.wait(session, delivery, error=why, delay_s=pause_s)
    if pause_s > 0:
        raise Postpone(pause_s, why)
    return delivery, destination, todo


def _pause_left(destination: Destination) -> tuple[float, str]:
    if not destination.enabled:
        return SWITCHED_OFF_S, "The destination is switched off."
    if destination.retry_in_s > 0:
        return destination.retry_in_s + jittered_s(0.2), destination.last_error or ""
    return 0.0, ""


def _deliver(
    context: TaskContext, delivery: Delivery, destination: Destination, todo: list[Instance]
) -> None:
    try:
        copier = Copier.prepare(context, delivery.transforms, delivery.study_instance_uid)
        settings = destinations.open_settings(destination, context.settings.encryption_key)
        with open_sender(settings) as sender:
            _send_all(context, delivery, destination, sender, copier, todo)
    except NeedsPerson as error:
        with context.database.tenant_session(context.tenant_id) as session:
            progress.hold(session, delivery, error.detail)
        return
    except DestinationUnavailable as error:
        _pause(context, delivery, destination, error.detail)
    except SecretUnreadable as error:
        _pause(context, delivery, destination, str(error))
    except BaseException as error:
        told = error.message if isinstance(error, GatewayError) else type(error).__name__
        with (
            suppress(DatabaseUnavailable),
            context.database.tenant_session(context.tenant_id) as session,
        ):
            progress.wait(session, delivery, error=told)
        raise
    _tell(context, delivery)


def _send_all(
    context: TaskContext,
    delivery: Delivery,
    destination: Destination,
    sender: Sender,
    copier: Copier,
    todo: list[Instance],
) -> None:
    refusals, later, answered = 0, "", False
    for instance in todo:
        outcome = _send(context, delivery, sender, copier, instance)
        _record(context, delivery, outcome)
        if outcome.delivered and not answered:
            with context.database.tenant_session(context.tenant_id) as session:
                progress.reached(session, destination.destination_id, delivery.delivery_id)
            answered = True
        postponed = not outcome.delivered and not outcome.permanent
        refusals = refusals + 1 if postponed else 0
        later = f"{outcome.remote_status}: {outcome.cause}" if postponed else later
        if refusals >= MOST_REFUSALS_IN_A_ROW:
            break
    if later:
        raise DestinationUnavailable(later)


def _send(
    context: TaskContext, delivery: Delivery, sender: Sender, copier: Copier, instance: Instance
) -> Outcome:
    uid = instance.sop_instance_uid
    try:
        received = context.archive.file_of(
            delivery.study_instance_uid, instance.series_instance_uid, uid
        )
    except NotFound:
        return Outcome(uid, False, True, "", "It is no longer in the archive.")
    try:
        file = copier.copy(received)
    except GatewayError as error:
        if not error.permanent:
            raise
        return Outcome(uid, False, True, "", str(error))

    def going() -> None:
        with context.database.tenant_session(context.tenant_id) as session:
            session.execute("SET LOCAL synchronous_commit = off")  # only a hint is lost
            ours = progress.sending(session, delivery, uid)
        if not ours:
            raise Postpone(jittered_s(1.0), "The delivery was taken over, or its study deleted.")

    outcome = sender.send(instance, file, going)
    if not outcome.delivered and instance.attempts + 1 >= MOST_ATTEMPTS:
        return Outcome(uid, False, True, outcome.remote_status, outcome.cause)
    return outcome


def _record(context: TaskContext, delivery: Delivery, outcome: Outcome) -> None:
    """Write an answer down. Nobody else knows it, so a database that restarts is waited for."""
    end = time.monotonic() + RECORD_S
    while True:
        try:
            with context.database.tenant_session(context.tenant_id) as session:
                progress.record(session, delivery.delivery_id, outcome)
            return
        except DatabaseUnavailable:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def _pause(context: TaskContext, delivery: Delivery, destination: Destination, why: str) -> None:
    first_s = context.settings.retry_delay_s
    with context.database.tenant_session(context.tenant_id) as session:
        delay_s = progress.unreachable(
            session, destination.destination_id, error=why, first_s=first_s
        )
        progress.wait(session, delivery, error=why, delay_s=delay_s)
    raise Postpone(delay_s, why)


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
