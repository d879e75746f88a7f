"""The ledger: which instance of which study is to arrive where, and what became of it.

An instance is *delivered* only when the destination acknowledged it, and then never sent again.
All functions take a tenant's session and see that tenant's rows alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Self, get_args

from extensions.routing.causes import CANCELLED
from extensions.routing.sending import line
from gateway import audit
from gateway.actions import Step, steps_of
from gateway.db import Row, Session
from gateway.errors import Conflict, NotFound

type DeliveryState = Literal[
    "waiting", "sending", "held", "delivered", "verified", "failed", "cancelled"
]  # fmt: skip
type InstanceState = Literal[
    "planned", "sending", "delivered", "verified", "failed", "cancelled"
]  # fmt: skip

PORTION = 1000
STATES: tuple[DeliveryState, ...] = get_args(DeliveryState.__value__)


@dataclass(frozen=True)
class Delivery:
    """One study to one destination, counted.

    `state` is *sending* or *waiting* while something is outstanding, *held* while that waits for a
    person, else *failed* if the destination refused an instance for good, else *cancelled* if a
    person cancelled what was left, else *delivered*, or *verified* when the destination was seen to
    have all. `delivered` counts the verified too.
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
    verified: int
    failed: int
    cancelled: int
    attempts: int
    last_error: str | None
    next_try_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @property
    def total(self) -> int:
        """How many instances there are to deliver."""
        return self.planned + self.sending + self.delivered + self.failed + self.cancelled


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
    number: int | None = None
    sent_as: str = ""
    sent_series: str = ""
    sent_study: str = ""
    verified_at: datetime | None = None

    @property
    def place(self) -> tuple[str, str]:
        """In its study: SeriesInstanceUID and SOPInstanceUID."""
        return self.series_instance_uid, self.sop_instance_uid

    @property
    def may_be_cancelled(self) -> bool:
        """It is not there, and nobody has said yet that it need not be."""
        return self.state not in {"delivered", "verified", "cancelled"}

    @classmethod
    def to_send(cls, sop_instance_uid: str, series_instance_uid: str, sop_class_uid: str) -> Self:
        """One that no delivery has yet, e.g. to try a destination with."""
        now = datetime.now(UTC)
        names = (sop_instance_uid, series_instance_uid, sop_class_uid)
        return cls(0, *names, "planned", "", "", 0, now)


@dataclass(frozen=True)
class Filter:
    """Which deliveries; what is empty does not matter. `cause` is a part of any cause."""

    state: DeliveryState | None = None
    destination: str = ""
    rule: str = ""
    cause: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def where(self) -> str:
        """The condition, whose parameters are `values`; no outside text is in it."""
        told = [text for name, text in _CONDITIONS.items() if getattr(self, name) not in {None, ""}]
        return " AND ".join(told) or "true"

    def values(self) -> dict[str, Any]:
        """The parameters of `where`."""
        cause = self.cause.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        return {**asdict(self), "cause": f"%{cause}%"}


_CONDITIONS = {
    "state": "d.state = %(state)s",
    "destination": "d.destination_name = %(destination)s",
    "rule": "d.rule_name = %(rule)s",
    "since": "d.created_at >= %(since)s",
    "until": "d.created_at < %(until)s",
    "cause": "EXISTS (SELECT FROM delivery_instance i WHERE i.delivery_id = d.delivery_id "
    "AND concat(i.remote_status, ' ', i.cause) ILIKE %(cause)s)",
}

_OWN = ", ".join(
    f"d.{name}"
    for name in Delivery.__dataclass_fields__
    if name not in {"last_error", "next_try_at"}
)
_DELIVERIES = f"""
    SELECT {_OWN},
           CASE WHEN d.state <> 'waiting' THEN d.last_error
                WHEN NOT x.enabled THEN 'The destination is switched off.'
                ELSE coalesce(x.last_error, d.last_error) END AS last_error,
           CASE WHEN d.state = 'waiting' AND x.enabled
                 AND greatest(x.retry_at, d.due_at, d.next_try_at) > now()
                THEN greatest(x.retry_at, d.due_at, d.next_try_at) END AS next_try_at
    FROM delivery d LEFT JOIN destination x USING (destination_id) """  # noqa: S608  ours


def deliveries_of_study(session: Session, study_instance_uid: str) -> list[Delivery]:
    """Where a study goes or went, oldest first."""
    rows = session.execute(
        _DELIVERIES + "WHERE d.study_instance_uid = %s ORDER BY d.delivery_id",
        [study_instance_uid],
    )
    return [_delivery(row) for row in rows]


def list_deliveries(
    session: Session, wanted: Filter | None = None, *, limit: int = 50, offset: int = 0
) -> list[Delivery]:
    """Deliveries, newest first; ask for one more than a page to know whether there is a next."""
    wanted = wanted or Filter()
    rows = session.execute(
        _DELIVERIES + f"WHERE {wanted.where()} "
        "ORDER BY d.created_at DESC, d.delivery_id DESC LIMIT %(limit)s OFFSET %(offset)s",
        {**wanted.values(), "limit": limit, "offset": offset},
    )
    return [_delivery(row) for row in rows]


def every_delivery(session: Session, wanted: Filter) -> Iterator[Delivery]:
    """All of them, oldest first, read in portions as they were when the first was read."""
    with session.cursor(name="every_delivery") as cursor:
        cursor.itersize = PORTION
        cursor.execute(
            _DELIVERIES + f"WHERE {wanted.where()} ORDER BY d.delivery_id", wanted.values()
        )
        for row in cursor:
            yield _delivery(row)


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
        "ORDER BY series_instance_uid, number NULLS LAST, sop_instance_uid",
        {"delivery": delivery_id, "states": None if states is None else list(states)},
    )
    return [_instance(row) for row in rows]


def failures(session: Session, *, limit: int = 50, offset: int = 0) -> list[Delivery]:
    """Deliveries with instances that were refused for good; `release` tries those again."""
    rows = session.execute(
        _DELIVERIES + "WHERE d.failed > 0 ORDER BY d.created_at DESC, d.delivery_id DESC "
        "LIMIT %s OFFSET %s",
        [limit, offset],
    )
    return [_delivery(row) for row in rows]


def lock(session: Session, *delivery_ids: int) -> None:
    """What nobody else changes until the session ends: deliveries and what they hold.

    Whoever changes instances locks their destination first, if at all, then their delivery, and
    then them: so no two wait for each other.
    """
    session.execute(
        "SELECT FROM delivery WHERE delivery_id = ANY(%s) ORDER BY delivery_id FOR NO KEY UPDATE",
        [list(delivery_ids)],
    )


def release(session: Session, delivery_id: int, *, actor: str, origin: str = "") -> int:
    """Try again, now, what failed, was cancelled or waits; how many instances that are.

    Raises `NotFound`, or `Conflict` if its destination was removed.
    """
    row = _row(session, delivery_id)
    if line.lock(session, row["destination_id"]) is None:
        raise Conflict(f"The destination {row['destination_name']!r} was removed.")
    _plan_again(session, [delivery_id], ["failed", "cancelled"])
    session.execute(
        "UPDATE destination SET retry_at = NULL WHERE destination_id = %s", [row["destination_id"]]
    )
    line.join(session, delivery_id)
    line.call_next(session, row["destination_id"])
    _tell(session, [row], "release-delivery", actor, origin)
    return len(instances_of(session, delivery_id, states=["planned", "sending"]))


def release_all(
    session: Session, wanted: Filter, *, actor: str, origin: str = "", most: int = 1000
) -> int:
    """Try again what failed or is held of the deliveries that the filter means; how many.

    What was cancelled stays so, unless the filter means just that. At most `most` at once, the
    oldest first: do it again until it is 0.
    """
    again: list[InstanceState] = ["failed"]
    if wanted.state == "cancelled":
        again.append("cancelled")
    rows = session.execute(
        f"SELECT d.* FROM delivery d WHERE {wanted.where()} AND d.destination_id IS NOT NULL "  # noqa: S608  ours
        "AND (d.failed > 0 OR d.state = 'held' OR d.state = ANY(%(again)s)) "
        "ORDER BY d.destination_id, d.created_at "
        "LIMIT %(most)s",
        {**wanted.values(), "again": again, "most": most},
    ).fetchall()
    places = sorted({row["destination_id"] for row in rows if row["destination_id"]})
    for destination_id in places:
        line.lock(session, destination_id)
    _plan_again(session, [row["delivery_id"] for row in rows], again)
    for row in rows:
        line.join(session, row["delivery_id"])
    for destination_id in places:
        line.call_next(session, destination_id)
    _tell(session, rows, "release-delivery", actor, origin)
    return len(rows)


def cancel(session: Session, delivery_id: int, *, actor: str, origin: str = "") -> None:
    """Send nothing more of a delivery, also what had failed, until it is released.

    Raises `NotFound`. Its study may then be deleted. An instance that is under way at this moment
    may still arrive, and then counts as delivered.
    """
    row = _row(session, delivery_id)
    line.lock(session, row["destination_id"])
    lock(session, delivery_id)
    session.execute(
        "UPDATE delivery_instance SET state = 'cancelled', updated_at = now(), "
        "cause = rtrim(%(by)s || CASE state WHEN 'failed' THEN ' ' || cause ELSE '' END) "
        "WHERE delivery_id = %(delivery)s AND state IN ('planned', 'sending', 'failed')",
        {"by": f"{CANCELLED}{actor}.", "delivery": delivery_id},
    )
    session.execute("UPDATE delivery SET last_error = NULL WHERE delivery_id = %s", [delivery_id])
    line.leave(session, delivery_id)
    _tell(session, [row], "cancel-delivery", actor, origin)


def _plan_again(session: Session, delivery_ids: list[int], states: list[InstanceState]) -> None:
    lock(session, *delivery_ids)
    session.execute(
        "UPDATE delivery_instance SET state = 'planned', updated_at = now() "
        "WHERE delivery_id = ANY(%s) AND state = ANY(%s)",
        [delivery_ids, states],
    )
    session.execute(
        "UPDATE delivery SET held = '', due_at = now(), updated_at = now() "
        "WHERE delivery_id = ANY(%s)",
        [delivery_ids],
    )


def _row(session: Session, delivery_id: int) -> Row:
    row = session.execute("SELECT * FROM delivery WHERE delivery_id = %s", [delivery_id]).fetchone()
    if row is None:
        raise NotFound(f"Delivery {delivery_id}.")
    return row


def _tell(session: Session, rows: Sequence[Row], action: str, actor: str, origin: str) -> None:
    """One record for each study, so that its own audit has it."""
    places = defaultdict[tuple[str, str], dict[str, None]](dict)
    for row in rows:
        places[row["tenant_id"], row["study_instance_uid"]][row["destination_name"]] = None
    records = [
        audit.Record(
            actor, action, f"study {study}", "allowed", tenant, origin, f"to {', '.join(names)}"
        )
        for (tenant, study), names in places.items()
    ]
    audit.append_all(session, records)


def _delivery(row: Row) -> Delivery:
    values = {name: row[name] for name in Delivery.__dataclass_fields__}
    return Delivery(**{**values, "transforms": steps_of(row["transforms"])})


def _instance(row: Row) -> Instance:
    return Instance(**{name: row[name] for name in Instance.__dataclass_fields__})
