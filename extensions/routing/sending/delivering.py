"""One run of a delivery: everything that the destination has not acknowledged, each at most once.

Only as many runs at a time go to a destination as it takes (line.py): a slow or hanging one never
takes more workers. PostgreSQL's advisory locks see to it too, because they end with a killed
worker's connection. A run that lost its lock (PostgreSQL was restarted) finds out by its number
before it sends the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from extensions.routing import destinations, ledger, progress
from extensions.routing.changes import copies
from extensions.routing.changes.copies import Copier
from extensions.routing.destinations import Destination
from extensions.routing.ledger import Delivery, Instance
from extensions.routing.progress import LONGEST_PAUSE_S, Outcome
from extensions.routing.sending import limits, line, verifying
from extensions.routing.sending.granting import Grants
from extensions.routing.sending.limits import Throttle
from extensions.routing.sending.reading import Ahead
from extensions.routing.sending.recording import Recorder
from extensions.routing.sending.sender import Cues, Sender, open_sender
from gateway import audit, studies
from gateway.actions import NeedsPerson
from gateway.context import TaskContext
from gateway.db import Session
from gateway.errors import (
    ArchiveUnavailable,
    DatabaseUnavailable,
    DestinationUnavailable,
    GatewayError,
    NotFound,
    SecretUnreadable,
)
from gateway.files import Files
from gateway.jobs import Postpone, backoff_s, jittered_s

TURN_S = 30.0
RECORD_S = 60.0
LONGEST_RUN_S = 1800.0  # then the next has its turn
MOST_REFUSALS_IN_A_ROW = 3  # "out of resources" so often: leave the destination alone
DECOMPRESSED = "It was decompressed, which the destination needs."
MOST_ATTEMPTS = 20  # of one instance that the destination always refuses "for now"


@dataclass(frozen=True)
class _Work:
    """What a run is about."""

    context: TaskContext
    delivery: Delivery
    destination: Destination
    todo: list[Instance]
    patient_id: str


class _Interrupted(GatewayError):
    """The rest of the delivery has to wait, through no fault of its own."""


def run(context: TaskContext, delivery_id: int, destination_id: int | None) -> None:
    """Deliver; raises `Postpone` while something is left, which `line` calls again."""
    pause_s, why, work = 0.0, "", None
    try:
        with _turn(context, destination_id):
            work = _prepare(context, delivery_id, destination_id)
            if work is not None:
                pause_s, why = _deliver(work)
    except Postpone:
        raise
    except (ArchiveUnavailable, DatabaseUnavailable) as error:  # ours: it keeps its turn
        raise Postpone(jittered_s(context.settings.retry_delay_s), error.message) from error
    except GatewayError as error:
        if error.permanent:
            _fail(context, delivery_id, str(error))
        pause_s, why = LONGEST_PAUSE_S, error.message
    except Exception:
        with suppress(DatabaseUnavailable):
            _step_back(context, delivery_id, destination_id, LONGEST_PAUSE_S)
        raise
    if _step_back(context, delivery_id, destination_id, pause_s):
        raise Postpone(line.PARKED_S, why)
    if work is not None:
        _tell(context, delivery_id)


@contextmanager
def _turn(context: TaskContext, destination_id: int | None) -> Iterator[None]:
    with context.database.tenant_session(context.tenant_id) as session:
        row = session.execute(
            "SELECT limits FROM destination WHERE destination_id = %s", [destination_id]
        ).fetchone()
        slots = limits.parse_limits(row["limits"]).concurrency if row else 1
        # Whoever ends calls the next one; this is for when somebody's connection hangs on.
        if not any(_locked(session, destination_id, slot) for slot in range(slots)):
            raise Postpone(jittered_s(TURN_S), "Another delivery to the destination runs.")
        yield


def _locked(session: Session, destination_id: int | None, slot: int) -> bool:
    row = session.execute(
        "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, %s)) AS ours",
        [f"routing: to {destination_id}", slot],
    ).fetchone()
    return row is not None and bool(row["ours"])


def _prepare(context: TaskContext, delivery_id: int, destination_id: int | None) -> _Work | None:
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
        if not line.is_called(session, delivery_id):
            line.call_next(session, destination_id)
        called = line.is_called(session, delivery_id)
        if called:
            progress.begin(session, delivery_id)
        delivery = ledger.get_delivery(session, delivery_id)
        study = studies.find(session, delivery.study_instance_uid) or {"patient_id": ""}
    if not called:
        raise Postpone(line.PARKED_S, "It waits for its turn.")
    return _Work(context, delivery, destination, todo, study["patient_id"])


def _deliver(work: _Work) -> tuple[float, str]:
    """Send what there is; how long to wait with the rest, if any, and why."""
    context, delivery, destination = work.context, work.delivery, work.destination
    error: str | None = None
    pause_s = 0.0
    try:
        copier = Copier.prepare(context, delivery.transforms, delivery.study_instance_uid)
        settings = destinations.open_settings(destination, context.settings.encryption_key)
        with open_sender(settings, context.settings.export_folder(context.tenant_id)) as sender:
            error = _send_all(work, sender, copier)
        if error:
            pause_s = backoff_s(context.settings.retry_delay_s, delivery.attempts, LONGEST_PAUSE_S)
    except NeedsPerson as needed:
        with context.database.tenant_session(context.tenant_id) as session:
            progress.hold(session, delivery, needed.detail)
    except _Interrupted as interrupted:
        with context.database.tenant_session(context.tenant_id) as session:
            progress.wait(session, delivery, error=None)
        return 0.0, interrupted.detail
    except (DestinationUnavailable, SecretUnreadable) as away:
        error = away.detail if isinstance(away, DestinationUnavailable) else str(away)
        with context.database.tenant_session(context.tenant_id) as session:
            progress.unreachable(
                session,
                destination.destination_id,
                error=error,
                first_s=context.settings.retry_delay_s,
            )
    except BaseException as failure:
        told = failure.message if isinstance(failure, GatewayError) else type(failure).__name__
        with (
            suppress(DatabaseUnavailable),
            context.database.tenant_session(context.tenant_id) as session,
        ):
            progress.wait(session, delivery, error=told)
        raise
    if error:
        with context.database.tenant_session(context.tenant_id) as session:
            progress.wait(session, delivery, error=error)
    return pause_s, error or ""


def _send_all(work: _Work, sender: Sender, copier: Copier) -> str:
    """Send one after the other; why some were refused for now, else nothing."""
    context, began = work.context, time.monotonic()
    refusals, later, answered = 0, "", False
    throttle = Throttle(work.destination.limits, began)
    grants = Grants([each.sop_instance_uid for each in work.todo], partial(_ask, work))
    files = Files(
        context.archive,
        context.settings.archive_folder,
        work.delivery.study_instance_uid,
        work.patient_id,
        [each.place for each in work.todo],
    )
    ahead = Ahead(work.todo, lambda instance: copier.copy(files.file_of(*instance.place)))
    with files, grants, Recorder(partial(_record, context, work.delivery)) as recorder:
        for instance in work.todo:
            _go_on(work, began)
            outcome, size_bytes = _send(work, sender, copier, instance, ahead, grants)
            recorder.note(outcome)
            if outcome.delivered and not answered:
                with context.database.tenant_session(context.tenant_id) as session:
                    progress.reached(
                        session, work.destination.destination_id, work.delivery.delivery_id
                    )
                answered = True
            postponed = not outcome.delivered and not outcome.permanent
            refusals = refusals + 1 if postponed else 0
            later = f"{outcome.remote_status}: {outcome.cause}" if postponed else later
            if refusals >= MOST_REFUSALS_IN_A_ROW:
                raise DestinationUnavailable(later)
            pause_s = throttle.pause_s(size_bytes, time.monotonic())
            if pause_s > 0:  # else it would only give others a turn
                time.sleep(min(pause_s, LONGEST_RUN_S))
    return later


def _ask(work: _Work, uids: Sequence[str]) -> set[str]:
    with work.context.database.tenant_session(work.context.tenant_id) as session:
        session.execute("SET LOCAL synchronous_commit = off")  # only a hint is lost
        return progress.sending(session, work.delivery, uids)


def _go_on(work: _Work, began: float) -> None:
    if time.monotonic() > began + LONGEST_RUN_S:
        raise _Interrupted("It goes on after others had their turn.")
    now = datetime.now().astimezone()
    if limits.wait_s(work.destination.limits, work.delivery.priority, now) > 0:
        raise _Interrupted("The destination's hours are over.")


def _send(
    work: _Work,
    sender: Sender,
    copier: Copier,
    instance: Instance,
    ahead: Ahead,
    grants: Grants,
) -> tuple[Outcome, int]:
    """What became of it, and how many bytes it had."""
    context, delivery, uid = work.context, work.delivery, instance.sop_instance_uid
    place = (delivery.study_instance_uid, instance.series_instance_uid, uid)
    try:
        file = ahead.file_of(instance)
    except NotFound:
        cause = "It is no longer in the archive."
        return Outcome(uid, False, True, "", cause), 0
    except GatewayError as error:
        if not error.permanent:
            raise
        cause = error.detail if isinstance(error, NeedsPerson) else str(error)
        return Outcome(uid, False, True, "", cause), 0

    def going() -> None:
        if not grants.may(uid):
            raise _Interrupted("It was taken over or settled, or its destination switched off.")

    def decompressed() -> bytes | None:
        plain = context.archive.decompressed(*place)
        return None if plain is None else copier.copy(plain)

    def meanwhile() -> None:
        # An answer is on its way: whatever goes wrong here is found again when its turn has come.
        with suppress(Exception):
            ahead.ready_after(instance)

    cues = Cues(going, meanwhile)
    outcome = _with_fallback(sender, instance, file, cues, decompressed)
    if not outcome.delivered and instance.attempts + 1 >= MOST_ATTEMPTS:
        outcome = Outcome(uid, False, True, outcome.remote_status, outcome.cause)
    if copier.changes:
        outcome = replace(outcome, sent=copies.names_of(file, place))
    return outcome, len(file)


def _with_fallback(
    sender: Sender,
    instance: Instance,
    file: bytes,
    cues: Cues,
    decompressed: Callable[[], bytes | None],
) -> Outcome:
    """Send it; a compressed one that is not accepted as it is goes decompressed, and says so."""
    outcome = sender.send(instance, file, cues)
    if not outcome.unreadable:
        return outcome
    plain = decompressed()
    if plain is None:
        cause = f"{outcome.cause} It cannot be decompressed here."
        return Outcome(instance.sop_instance_uid, False, True, outcome.remote_status, cause)
    second = sender.send(instance, plain, cues if outcome.never_sent else Cues())
    return replace(second, cause=DECOMPRESSED) if second.delivered else second


def _record(context: TaskContext, delivery: Delivery, outcomes: Sequence[Outcome]) -> None:
    """Write answers down. Nobody else knows them, so a database that restarts is waited for."""
    end = time.monotonic() + RECORD_S
    while True:
        try:
            with context.database.tenant_session(context.tenant_id) as session:
                progress.record(session, delivery.delivery_id, *outcomes)
            return
        except DatabaseUnavailable:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def _step_back(
    context: TaskContext, delivery_id: int, destination_id: int | None, pause_s: float
) -> bool:
    with context.database.tenant_session(context.tenant_id) as session:
        return line.step_back(session, delivery_id, destination_id, pause_s)


def _fail(context: TaskContext, delivery_id: int, cause: str) -> None:
    with context.database.tenant_session(context.tenant_id) as session:
        progress.fail_all(session, delivery_id, cause)


def _tell(context: TaskContext, delivery_id: int) -> None:
    with context.database.tenant_session(context.tenant_id) as session:
        delivery = ledger.get_delivery(session, delivery_id)
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
        verifying.plan(session, delivery, context.settings.retry_delay_s)
