"""What lists, metrics and exports tell of deliveries. Takes any session; no I/O of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from extensions.routing.ledger import PORTION, Filter
from gateway.db import Row, Session

INSTANCE_COLUMNS = (
    "delivery_id", "study_instance_uid", "series_instance_uid", "sop_instance_uid",
    "sent_as_study", "sent_as_series", "sent_as", "destination_name", "rule_name", "state",
    "remote_status", "cause", "attempts", "delivered_at", "verified_at", "updated_at",
)  # fmt: skip
# Nothing changes the row of an instance after its delivery but that it is verified, or sent again.
_INSTANCES = """
    SELECT d.delivery_id, d.study_instance_uid, i.series_instance_uid, i.sop_instance_uid,
           i.sent_study AS sent_as_study, i.sent_series AS sent_as_series, i.sent_as,
           d.destination_name, d.rule_name, i.state, i.remote_status, i.cause, i.attempts,
           CASE WHEN i.state IN ('delivered', 'verified') THEN i.updated_at END AS delivered_at,
           i.verified_at, i.updated_at
    FROM delivery_instance i JOIN delivery d USING (delivery_id) """


def count_states(session: Session) -> dict[str, int]:
    """How many deliveries of all that the session sees are in each state."""
    rows = session.execute("SELECT state, count(*) AS n FROM delivery GROUP BY state")
    return {row["state"]: row["n"] for row in rows}


def count_outages(session: Session) -> int:
    """How many destinations do not answer while something waits for them."""
    row = session.execute(
        "SELECT count(*) AS n FROM destination x WHERE outage_since IS NOT NULL AND enabled "
        "AND EXISTS (SELECT FROM delivery d WHERE d.destination_id = x.destination_id "
        "AND d.state IN ('waiting', 'sending'))"
    ).fetchone()
    return int(row["n"]) if row else 0


def states_of_studies(
    session: Session, study_uids: Sequence[str]
) -> Mapping[str, Mapping[str, int]]:
    """How many deliveries of each study are in each state."""
    rows = session.execute(
        "SELECT study_instance_uid, state, count(*) AS n FROM delivery "
        "WHERE study_instance_uid = ANY(%s) GROUP BY 1, 2 ORDER BY 1, 2",
        [list(study_uids)],
    )
    counts: dict[str, dict[str, int]] = {}
    for row in rows:
        counts.setdefault(row["study_instance_uid"], {})[row["state"]] = row["n"]
    return counts


def patients_of(session: Session, study_uids: Sequence[str]) -> dict[str, str]:
    """The patient's name of each study that is still here, as DICOM writes it."""
    rows = session.execute(
        "SELECT study_instance_uid, patient_name FROM study WHERE study_instance_uid = ANY(%s)",
        [list(study_uids)],
    )
    return {row["study_instance_uid"]: row["patient_name"] for row in rows}


def refusals_of(session: Session, delivery_ids: Sequence[int]) -> dict[int, str]:
    """Of each delivery with refused instances, what the destination answered to one of them.

    Without such, who cancelled it, and what it had failed of.
    """
    rows = session.execute(
        "SELECT DISTINCT ON (delivery_id) delivery_id, cause, "
        "CASE state WHEN 'failed' THEN remote_status ELSE '' END AS status FROM delivery_instance "
        "WHERE delivery_id = ANY(%s) AND state IN ('failed', 'cancelled') "
        "ORDER BY delivery_id, state DESC, updated_at DESC",
        [list(delivery_ids)],
    )
    return {row["delivery_id"]: f"{row['status']} {row['cause']}".strip() for row in rows}


def every_instance(session: Session, wanted: Filter) -> Iterator[Row]:
    """The instances of these deliveries by delivery, read in portions as they were at first.

    The columns are `INSTANCE_COLUMNS`. `delivered_at` is when the destination acknowledged it.
    """
    with session.cursor(name="every_instance") as cursor:
        cursor.itersize = PORTION
        cursor.execute(
            _INSTANCES + f"WHERE {wanted.where()} ORDER BY i.delivery_id, i.sop_instance_uid",
            wanted.values(),
        )
        yield from cursor
