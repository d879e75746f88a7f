"""Counts of deliveries by state, for lists and metrics. Takes any session; no I/O of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.db import Session


def count_states(session: Session) -> dict[str, int]:
    """How many deliveries of all that the session sees are in each state."""
    rows = session.execute("SELECT state, count(*) AS n FROM delivery GROUP BY state")
    return {row["state"]: row["n"] for row in rows}


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
    """Of each delivery with refused instances, what the destination answered to one of them."""
    rows = session.execute(
        "SELECT DISTINCT ON (delivery_id) delivery_id, remote_status, cause FROM delivery_instance "
        "WHERE delivery_id = ANY(%s) AND state = 'failed' ORDER BY delivery_id, updated_at DESC",
        [list(delivery_ids)],
    )
    return {row["delivery_id"]: f"{row['remote_status']} {row['cause']}".strip() for row in rows}
