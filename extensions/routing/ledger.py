"""The ledger: which instance of which study is to arrive where, and what became of it.

An instance is *delivered* only when the destination acknowledged it, and then never sent again.
All functions take a tenant's session and see that tenant's rows alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from gateway import audit, jobs
from gateway.actions import Step, steps_of
from gateway.db import Row, Session
from gateway.errors import NotFound

type DeliveryState = Literal["waiting", "sending", "held", "delivered", "failed"]
type InstanceState = Literal["planned", "sending", "delivered", "failed"]

STATES: tuple[DeliveryState, ...] = ("waiting", "sending", "held", "delivered", "failed")


@dataclass(frozen=True)
class Delivery:
    """One study to one destination, counted.

    `state` is *sending* or *waiting* while something is outstanding, *held* while that waits for a
    person, else *failed* if the destination refused an instance for good, else *delivered*.
    `transforms` is what is done to each copy; without any it is sent as it was received.
    """

    delivery_id: int
    study_instance_uid: str
    destination_id: int | None
    destination_name: str
    rule_name: str
    reason: list[dict[str, Any]]
    transforms: tuple[Step, ...]
    priority: str
    held: str
    state: DeliveryState
    planned: int
    sending: int
    delivered: int
    failed: int
    attempts: int
    last_error: str | None
    next_try_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @property
    def total(self) -> int:
        """How many instances there are to deliver."""
        return self.planned + self.sending + self.delivered + self.failed


@dataclass(frozen=True)
class Instance:
    """One instance of a delivery and what became of it."""

    delivery_id: int
    sop_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    state: InstanceState
    remote_status: str
    cause: str
    attempts: int
    updated_at: datetime


_DELIVERIES = """
    SELECT d.*, c.planned, c.sending, c.delivered, c.failed,
           CASE WHEN d.held <> '' AND c.planned > 0 THEN 'held'
                WHEN c.sending > 0 THEN 'sending' WHEN c.planned > 0 THEN 'waiting'
                WHEN c.failed > 0 THEN 'failed' ELSE 'delivered' END AS state
    FROM delivery d CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE i.state = 'planned') AS planned,
               count(*) FILTER (WHERE i.state = 'sending') AS sending,
               count(*) FILTER (WHERE i.state = 'delivered') AS delivered,
               count(*) FILTER (WHERE i.state = 'failed') AS failed
        FROM delivery_instance i WHERE i.delivery_id = d.delivery_id
    ) AS c
"""
_COUNTED = "SELECT * FROM (" + _DELIVERIES + ") AS e "  # noqa: S608  no outside text in it


def deliveries_of_study(session: Session, study_instance_uid: str) -> list[Delivery]:
    """Where a study goes or went, oldest first."""
    rows = session.execute(
        _DELIVERIES + "WHERE d.study_instance_uid = %s ORDER BY d.delivery_id",
        [study_instance_uid],
    )
    return [_delivery(row) for row in rows]


def list_deliveries(
    session: Session, *, state: DeliveryState | None = None, limit: int = 50, offset: int = 0
) -> list[Delivery]:
    """Deliveries, newest first; ask for one more than a page to know whether there is a next."""
    rows = session.execute(
        _COUNTED + "WHERE %(state)s::text IS NULL OR state = %(state)s "
        "ORDER BY created_at DESC, delivery_id DESC LIMIT %(limit)s OFFSET %(offset)s",
        {"state": state, "limit": limit, "offset": offset},
    )
    return [_delivery(row) for row in rows]


def get_delivery(session: Session, delivery_id: int) -> Delivery:
    """One delivery; raises `NotFound`."""
    row = session.execute(_DELIVERIES + "WHERE d.delivery_id = %s", [delivery_id]).fetchone()
    if row is None:
        raise NotFound(f"Delivery {delivery_id}.")
    return _delivery(row)


def instances_of(
    session: Session, delivery_id: int, *, states: Sequence[InstanceState] | None = None
) -> list[Instance]:
    """The instances of a delivery, of all states or of some."""
    rows = session.execute(
        "SELECT * FROM delivery_instance WHERE delivery_id = %(delivery)s "
        "AND (%(states)s::text[] IS NULL OR state = ANY(%(states)s)) "
        "ORDER BY series_instance_uid, sop_instance_uid",
        {"delivery": delivery_id, "states": None if states is None else list(states)},
    )
    return [_instance(row) for row in rows]


def failures(session: Session, *, limit: int = 50, offset: int = 0) -> list[Delivery]:
    """Deliveries with instances that were refused for good; `release` tries those again."""
    rows = session.execute(
        _COUNTED + "WHERE failed > 0 ORDER BY updated_at DESC, delivery_id DESC LIMIT %s OFFSET %s",
        [limit, offset],
    )
    return [_delivery(row) for row in rows]


def release(session: Session, delivery_id: int, *, actor: str, origin: str = "") -> int:
    """Try again, now, what failed or waits; how many instances that are. Raises `NotFound`."""
    row = session.execute(
        "UPDATE delivery SET next_try_at = NULL, held = '', updated_at = now() "
        "WHERE delivery_id = %s RETURNING tenant_id, destination_id, destination_name, "
        "study_instance_uid",
        [delivery_id],
    ).fetchone()
    if row is None:
        raise NotFound(f"Delivery {delivery_id}.")
    session.execute(
        "UPDATE delivery_instance SET state = 'planned', updated_at = now() "
        "WHERE delivery_id = %s AND state = 'failed'",
        [delivery_id],
    )
    session.execute(
        "UPDATE destination SET retry_at = NULL WHERE destination_id = %s", [row["destination_id"]]
    )
    enqueue_delivery(
        session, row["tenant_id"], delivery_id, row["destination_id"], row["study_instance_uid"]
    )
    _tell(session, row, "release-delivery", actor, origin)
    return len(instances_of(session, delivery_id, states=["planned", "sending"]))


def cancel(session: Session, delivery_id: int, *, actor: str, origin: str = "") -> None:
    """Send nothing more of a delivery, until it is released. Raises `NotFound`.

    An instance that is under way at this moment may still arrive, and then counts as delivered.
    """
    row = session.execute(
        "UPDATE delivery SET next_try_at = NULL, last_error = NULL, updated_at = now() "
        "WHERE delivery_id = %s RETURNING tenant_id, destination_name, study_instance_uid",
        [delivery_id],
    ).fetchone()
    if row is None:
        raise NotFound(f"Delivery {delivery_id}.")
    session.execute(
        "UPDATE delivery_instance SET state = 'failed', cause = %s, updated_at = now() "
        "WHERE delivery_id = %s AND state IN ('planned', 'sending')",
        [f"Cancelled by {actor}.", delivery_id],
    )
    jobs.call_off(
        session, extension="routing", task="deliver", arguments={"delivery_id": delivery_id}
    )
    _tell(session, row, "cancel-delivery", actor, origin)


def enqueue_delivery(
    session: Session, tenant_id: str, delivery_id: int, destination_id: int | None, study_uid: str
) -> None:
    """Have the delivery run; its study stays until it has."""
    jobs.enqueue(
        session,
        tenant_id=tenant_id,
        extension="routing",
        task="deliver",
        arguments={"delivery_id": delivery_id, "destination_id": destination_id},
        study_uid=study_uid,
        max_attempts=1000,
        time_limit_s=3600,
    )


def hurry_next(session: Session, destination_id: int | None) -> None:
    """The destination is free: whichever delivery has waited longest for its turn has it now."""
    waiting = {"destination_id": destination_id}
    jobs.hurry_oldest(session, extension="routing", task="deliver", arguments=waiting)


def _tell(session: Session, row: Row, action: str, actor: str, origin: str) -> None:
    record = audit.Record(
        actor,
        action,
        f"study {row['study_instance_uid']}",
        "allowed",
        row["tenant_id"],
        origin,
        f"to {row['destination_name']}",
    )
    audit.append(session, record)


def _delivery(row: Row) -> Delivery:
    values = {name: row[name] for name in Delivery.__dataclass_fields__}
    return Delivery(**{**values, "transforms": steps_of(row["transforms"])})


def _instance(row: Row) -> Instance:
    return Instance(**{name: row[name] for name in Instance.__dataclass_fields__})
