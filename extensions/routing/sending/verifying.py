"""*Verified*: the destination was asked, after it had acknowledged everything, what it has."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from extensions.routing import destinations, ledger
from extensions.routing.destination_settings import DicomwebSettings, DimseSettings
from extensions.routing.ledger import Delivery, Instance
from extensions.routing.sending import line, transactions
from extensions.routing.sending.committing import NotOffered
from extensions.routing.sending.transactions import Unreported
from gateway import audit, jobs
from gateway.context import TaskContext
from gateway.db import Session
from gateway.errors import DestinationUnavailable, GatewayError, NotFound, SecretUnreadable
from gateway.jobs import Postpone, jittered_s

CHECKS = 3  # a destination may need a while to find what it has stored
MOST_SENDINGS = 3  # of what was acknowledged each time and never found
GIVE_UP_AFTER = timedelta(hours=1)
RETRY_S = 60.0
MISSING = "It was acknowledged, but the destination does not find it."


def plan(session: Session, delivery: Delivery, first_s: float) -> None:
    """Have a delivery that has arrived verified, if its destination is to be asked."""
    if delivery.state != "delivered" or delivery.destination_id is None:
        return
    try:
        destination = destinations.get_destination(session, delivery.destination_id)
    except NotFound:
        return
    if getattr(destination.settings, "verify", "none") == "none":
        return
    transactions.forget(session, delivery.delivery_id)
    row = session.execute(
        "UPDATE delivery SET checks = 0 WHERE delivery_id = %s RETURNING tenant_id AS id",
        [delivery.delivery_id],
    ).fetchone()
    assert row is not None
    jobs.enqueue(
        session,
        tenant_id=row["id"],
        extension="routing",
        task="verify",
        arguments={"delivery_id": delivery.delivery_id},
        study_uid=delivery.study_instance_uid,
        queue=line.QUEUE,
        delay_s=first_s,
    )


def run(context: TaskContext, delivery_id: int) -> None:
    """Ask; raises `Postpone` while something is not found or the destination cannot be asked."""
    with context.database.tenant_session(context.tenant_id) as session:
        delivery = ledger.get_delivery(session, delivery_id)
        instances = ledger.instances_of(session, delivery_id, states=["delivered"])
        if delivery.state == "verified" and transactions.forget(session, delivery_id):
            _tell_verified(session, context.tenant_id, delivery)  # the run before was killed
    if delivery.state != "delivered" or not instances or delivery.destination_id is None:
        return
    try:
        missing = _ask(context, delivery, instances)
    except NotFound:
        return  # the destination was removed
    except (DestinationUnavailable, SecretUnreadable) as error:
        _not_asked(context, delivery, error)
        return
    found = {i.sop_instance_uid for i in instances} - missing.keys()
    with context.database.tenant_session(context.tenant_id) as session:
        line.lock(session, delivery.destination_id)
        ledger.lock(session, delivery_id)
        transactions.forget(session, delivery_id)
        checks = _note(session, delivery_id, found)
        if missing and checks >= CHECKS:
            _send_again(session, delivery, missing)
        elif not missing:
            _tell_verified(session, context.tenant_id, ledger.get_delivery(session, delivery_id))
    if missing and checks < CHECKS:
        pause_s = jittered_s(context.settings.retry_delay_s * 6**checks)
        raise Postpone(pause_s, next(iter(missing.values())))


def _ask(context: TaskContext, delivery: Delivery, instances: list[Instance]) -> Mapping[str, str]:
    """Why it is to be doubted that the destination has some of them, by their UIDs here."""
    with context.database.tenant_session(context.tenant_id) as session:
        destination = destinations.get_destination(session, delivery.destination_id or 0)
    settings = destinations.open_settings(destination, context.settings.encryption_key)
    if isinstance(settings, DimseSettings) and settings.verify == "commitment":
        return transactions.missing(context, delivery, settings, instances)
    if not isinstance(settings, DimseSettings | DicomwebSettings):
        raise NotFound("Nobody to ask.")
    return _search(settings, delivery, instances)


def _search(
    settings: DimseSettings | DicomwebSettings, delivery: Delivery, instances: list[Instance]
) -> Mapping[str, str]:
    from extensions.routing.sending import finding

    places = defaultdict[tuple[str, str], dict[str, str]](dict)
    for each in instances:
        study = each.sent_study or delivery.study_instance_uid
        series = each.sent_series or each.series_instance_uid
        places[study, series][each.sent_as or each.sop_instance_uid] = each.sop_instance_uid
    missing = dict[str, str]()
    for (study, series), here_by_there in places.items():
        there = finding.instances_of(settings, study, series)
        missing |= {here: MISSING for uid, here in here_by_there.items() if uid not in there}
    return missing


def _note(session: Session, delivery_id: int, found: set[str]) -> int:
    session.execute(
        "UPDATE delivery_instance SET state = 'verified', verified_at = now() "
        "WHERE delivery_id = %s AND sop_instance_uid = ANY(%s) AND state = 'delivered'",
        [delivery_id, list(found)],
    )
    row = session.execute(
        "UPDATE delivery SET checks = checks + 1 WHERE delivery_id = %s RETURNING checks",
        [delivery_id],
    ).fetchone()
    return row["checks"] if row else 0


def _send_again(session: Session, delivery: Delivery, missing: Mapping[str, str]) -> None:
    session.execute(
        "UPDATE delivery_instance SET cause = told.cause, updated_at = now(), "
        "state = CASE WHEN attempts < %s THEN 'planned' ELSE 'failed' END "
        "FROM unnest(%s::text[], %s::text[]) AS told (uid, cause) "
        "WHERE delivery_id = %s AND sop_instance_uid = told.uid AND state = 'delivered'",
        [MOST_SENDINGS, list(missing), list(missing.values()), delivery.delivery_id],
    )
    session.execute(
        "UPDATE delivery SET checks = 0, due_at = now() WHERE delivery_id = %s",
        [delivery.delivery_id],
    )
    if ledger.get_delivery(session, delivery.delivery_id).planned:
        line.join(session, delivery.delivery_id)
        line.call_next(session, delivery.destination_id)
    row = session.execute("SELECT current_tenant() AS id").fetchone()
    told = f"{len(missing)} not found"
    _tell(session, row["id"] if row else "", delivery, "failed", told)


def _not_asked(context: TaskContext, delivery: Delivery, error: GatewayError) -> None:
    in_time = datetime.now(UTC) - delivery.updated_at < GIVE_UP_AFTER
    if in_time and not isinstance(error, NotOffered):
        pause_s = error.delay_s if isinstance(error, Unreported) else RETRY_S
        raise Postpone(jittered_s(pause_s), str(error))
    with context.database.tenant_session(context.tenant_id) as session:
        session.execute(
            "UPDATE delivery SET last_error = %s WHERE delivery_id = %s",
            [f"It could not be verified: {error}", delivery.delivery_id],
        )
        transactions.forget(session, delivery.delivery_id)


def _tell_verified(session: Session, tenant_id: str, delivery: Delivery) -> None:
    _tell(session, tenant_id, delivery, "allowed", f"{delivery.verified} found")


def _tell(
    session: Session, tenant_id: str, delivery: Delivery, verdict: audit.Verdict, told: str
) -> None:
    record = audit.Record(
        "routing",
        "verify-delivery",
        f"study {delivery.study_instance_uid}",
        verdict,
        tenant_id,
        "",
        f"at {delivery.destination_name}: {told}",
    )
    audit.append(session, record)
