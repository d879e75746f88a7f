"""Writing the ledger while a study is planned and sent. All functions take a tenant's session.

Each locks a delivery before its instances (`ledger.lock`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from extensions.routing.causes import STUDY_DELETED
from extensions.routing.destinations import Destination
from extensions.routing.ledger import Delivery, Instance, instances_of, lock
from extensions.routing.sending import line
from gateway import audit
from gateway.actions import Subject
from gateway.db import Row, Session
from gateway.jobs import backoff_s

LONGEST_PAUSE_S = 120.0


@dataclass(frozen=True)
class Names:
    """UIDs of a copy, where they are not those of what was received."""

    study: str = ""
    series: str = ""
    instance: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a destination answered to one instance.

    Neither delivered nor permanent: the destination may take it later. `unreadable`: it might take
    it without compression. `never_sent`: that was known beforehand. `sent`: where it was a copy.
    """

    sop_instance_uid: str
    delivered: bool
    permanent: bool
    remote_status: str
    cause: str = ""
    unreadable: bool = False
    never_sent: bool = False
    sent: Names = Names()

    @property
    def state(self) -> str:
        """As the ledger names it."""
        return "delivered" if self.delivered else "failed" if self.permanent else "planned"


def plan(session: Session, destination: Destination, subject: Subject) -> tuple[int, int]:
    """Note what is to arrive where and have it sent; what the ledger has already stays.

    The delivery's id, and how many instances are new.
    """
    transforms = [step.as_json() for step in subject.transforms]
    line.lock(session, destination.destination_id)
    row = session.execute(
        """
        INSERT INTO delivery (tenant_id, study_instance_uid, destination_id, destination_name,
                              rule_name, reason, transforms, pipeline, priority)
        SELECT tenant_id, %(study)s, destination_id, name, %(rule)s, %(reason)s, %(transforms)s,
               %(pipeline)s, %(priority)s
        FROM destination WHERE destination_id = %(destination)s
        ON CONFLICT (tenant_id, destination_id, study_instance_uid, pipeline)
        DO UPDATE SET updated_at = now() RETURNING delivery_id
        """,
        {
            "study": subject.study_instance_uid,
            "rule": subject.rule_name,
            "reason": Jsonb(list(subject.reason)),
            "transforms": Jsonb(transforms),
            "pipeline": pipeline_of(transforms),
            "priority": subject.priority,
            "destination": destination.destination_id,
        },
    ).fetchone()
    if row is None:  # the destination was removed meanwhile
        return 0, 0
    cursor = session.execute(
        """
        INSERT INTO delivery_instance (delivery_id, tenant_id, sop_instance_uid,
                                       series_instance_uid, sop_class_uid, number)
        SELECT %s, current_tenant(), * FROM unnest(%s::text[], %s::text[], %s::text[], %s::int[])
        ON CONFLICT (delivery_id, sop_instance_uid) DO UPDATE
        SET state = 'planned', cause = '', updated_at = now()
        WHERE delivery_instance.state = 'failed' AND delivery_instance.cause = %s
        """,
        [
            row["delivery_id"],
            [i.sop_instance_uid for i in subject.instances],
            [i.series_instance_uid for i in subject.instances],
            [i.sop_class_uid for i in subject.instances],
            [i.number for i in subject.instances],
            STUDY_DELETED,  # it is here again
        ],
    )
    if cursor.rowcount:
        line.join(session, row["delivery_id"])
        line.call_next(session, destination.destination_id)
    return row["delivery_id"], cursor.rowcount


def pipeline_of(transforms: Sequence[Mapping[str, Any]]) -> str:
    """Names what is done to the copies of a delivery; empty: they are sent as they are."""
    if not transforms:
        return ""
    told = json.dumps(transforms, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def outstanding(session: Session, delivery_id: int) -> list[Instance]:
    """What was not acknowledged yet. *sending*: a run was broken off before the answer came."""
    return instances_of(session, delivery_id, states=["planned", "sending"])


def begin(session: Session, delivery_id: int) -> None:
    """A run of the sender starts; what an earlier one left as *sending* is planned again.

    `Delivery.attempts` is the number of the run, by which a later one takes over.
    """
    session.execute(
        "UPDATE delivery SET attempts = attempts + 1, running = true, next_try_at = NULL, "
        "updated_at = now() "
        "WHERE delivery_id = %s",
        [delivery_id],
    )
    session.execute(
        "UPDATE delivery_instance SET state = 'planned' "
        "WHERE delivery_id = %s AND state = 'sending'",
        [delivery_id],
    )


def sending(session: Session, delivery: Delivery, uids: Sequence[str]) -> set[str]:
    """These instances go out now; which of them may.

    The others must not: a later run has begun, they are settled, or the destination was switched
    off.
    """
    rows = session.execute(
        "WITH ours AS (SELECT delivery_id FROM delivery d JOIN destination USING (destination_id) "
        "WHERE delivery_id = %s AND attempts = %s AND enabled FOR NO KEY UPDATE OF d) "
        "UPDATE delivery_instance i SET state = 'sending', updated_at = now() FROM ours "
        "WHERE i.delivery_id = ours.delivery_id AND sop_instance_uid = ANY(%s) "
        "AND state IN ('planned', 'sending') RETURNING sop_instance_uid",
        [delivery.delivery_id, delivery.attempts, list(uids)],
    )
    return {row["sop_instance_uid"] for row in rows}


def record(session: Session, delivery_id: int, *outcomes: Outcome) -> None:
    """What became of instances; `attempts` counts these.

    Delivered stays delivered; what was cancelled meanwhile stays so unless it was delivered.
    """
    uids = [outcome.sop_instance_uid for outcome in outcomes]
    session.execute(
        "WITH ours AS (SELECT FROM delivery WHERE delivery_id = %s FOR NO KEY UPDATE) "
        "UPDATE delivery_instance i SET state = o.state, remote_status = o.remote_status, "
        "cause = o.cause, sent_as = o.sent_as, sent_series = o.sent_series, "
        "sent_study = o.sent_study, attempts = attempts + 1, updated_at = now() "
        "FROM ours, unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], "
        "%s::text[]) AS o (uid, state, remote_status, cause, sent_as, sent_series, sent_study) "
        # Named twice: so they are found by the key, whatever PostgreSQL takes the table to be like.
        "WHERE delivery_id = %s AND sop_instance_uid = ANY(%s) AND sop_instance_uid = o.uid "
        "AND i.state NOT IN ('delivered', 'verified') "
        "AND (i.state <> 'cancelled' OR o.state = 'delivered')",
        [
            delivery_id,
            uids,
            [outcome.state for outcome in outcomes],
            [outcome.remote_status for outcome in outcomes],
            # a destination's own words; PostgreSQL refuses this character
            [outcome.cause.replace("\0", "") for outcome in outcomes],
            [outcome.sent.instance for outcome in outcomes],
            [outcome.sent.series for outcome in outcomes],
            [outcome.sent.study for outcome in outcomes],
            delivery_id,
            uids,
        ],
    )


def fail_all(session: Session, delivery_id: int, cause: str) -> None:
    """Nothing more of this delivery can be sent."""
    lock(session, delivery_id)
    session.execute(
        "UPDATE delivery_instance SET state = 'failed', cause = %s, updated_at = now() "
        "WHERE delivery_id = %s AND state IN ('planned', 'sending')",
        [cause, delivery_id],
    )


def wait(session: Session, delivery: Delivery, *, error: str | None) -> None:
    """The delivery goes on later, if no other run has begun; nothing of it is being sent now."""
    ours = session.execute(
        "UPDATE delivery SET last_error = %s, running = false, updated_at = now() "
        "WHERE delivery_id = %s AND attempts = %s",
        [error, delivery.delivery_id, delivery.attempts],
    ).rowcount
    if ours:
        session.execute(
            "UPDATE delivery_instance SET state = 'planned' "
            "WHERE delivery_id = %s AND state = 'sending'",
            [delivery.delivery_id],
        )


def hold(session: Session, delivery: Delivery, why: str) -> None:
    """The delivery waits for a person, who releases it; the study's audit says so."""
    row = session.execute(
        "UPDATE delivery SET held = %s, updated_at = now() WHERE delivery_id = %s "
        "RETURNING tenant_id",
        [why, delivery.delivery_id],
    ).fetchone()
    assert row is not None  # no delivery is ever deleted but with its tenant
    study, told = f"study {delivery.study_instance_uid}", f"to {delivery.destination_name}: {why}"
    audit.append(
        session,
        audit.Record("routing", "hold-delivery", study, "allowed", row["tenant_id"], "", told),
    )


def reached(session: Session, destination_id: int, delivery_id: int) -> None:
    """The destination answers."""
    row = session.execute(
        """
        WITH before AS (SELECT destination_id, outage_since FROM destination
                        WHERE destination_id = %s AND (failures > 0 OR last_error IS NOT NULL
                                                       OR outage_since IS NOT NULL) FOR UPDATE)
        UPDATE destination d SET failures = 0, retry_at = NULL, last_error = NULL,
                                 outage_since = NULL
        FROM before b WHERE d.destination_id = b.destination_id
        RETURNING d.tenant_id, d.name, b.outage_since,
                  extract(epoch FROM now() - b.outage_since)::bigint AS outage_s
        """,
        [destination_id],
    ).fetchone()
    if row is not None and row["outage_since"] is not None:
        _tell_outage(session, row, "end-outage", "allowed", f"after {row['outage_s']} s")
    session.execute(
        "UPDATE delivery SET last_error = NULL, updated_at = now() "
        "WHERE delivery_id = %s AND last_error IS NOT NULL",
        [delivery_id],
    )


def unreachable(session: Session, destination_id: int, *, error: str, first_s: float) -> float:
    """The destination does not answer: nobody tries it for so many seconds.

    The audit is told when an outage begins and ends, not of each try.
    """
    row = session.execute(
        """
        WITH before AS (SELECT destination_id, outage_since FROM destination
                        WHERE destination_id = %s FOR UPDATE)
        UPDATE destination d SET last_error = %s, outage_since = coalesce(b.outage_since, now()),
                                 failures = failures + 1
        FROM before b WHERE d.destination_id = b.destination_id
        RETURNING d.tenant_id, d.name, failures, b.outage_since
        """,
        [destination_id, error],
    ).fetchone()
    if row is not None and row["outage_since"] is None:
        _tell_outage(session, row, "begin-outage", "failed", error)
    delay_s = backoff_s(first_s, row["failures"] if row else 1, LONGEST_PAUSE_S)
    session.execute(
        "UPDATE destination SET retry_at = now() + make_interval(secs => %s) "
        "WHERE destination_id = %s",
        [delay_s, destination_id],
    )
    return delay_s


def _tell_outage(
    session: Session, row: Row, action: str, verdict: audit.Verdict, detail: str
) -> None:
    resource = f"destination {row['name']}"
    audit.append(
        session, audit.Record("routing", action, resource, verdict, row["tenant_id"], "", detail)
    )
