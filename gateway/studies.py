"""Who owns a StudyInstanceUID, and how far its arrival is.

Ownership is one unique row, made before anything of the study is stored. A study is `claimed`,
then `receiving`, then `stable`. What is acknowledged is of a study in `receiving`, or in a claim of
just now, which becomes `receiving` with the next progress or, after a kill, because completion
finds its instance in the archive; so a stable event follows whatever is killed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gateway.arriving import NOBODY, Sender
from gateway.db import Session
from gateway.errors import ForeignStudy, GatewayError
from gateway.events import StudyArriving, StudyDeleted, StudyStable, publish

MOST_QUIET = 100  # of one look at the studies that have become quiet
DELETION_S = 60.0  # the archive has deleted a study, or failed to, within it


class StillNeeded(GatewayError):
    """The study cannot be deleted yet: work on it is not finished.

    Wait until it is, such as a delivery until it has arrived, or decide on the study's page in the
    portal: release, cancel or discard what it names; then delete the study again.
    """

    http_status = 409
    permanent = False


@dataclass(frozen=True)
class Arrival:
    """What the first instance of a study (or of a new arrival of it) tells about it."""

    study_instance_uid: str
    patient_id: str = ""
    patient_name: str = ""
    study_date: str = ""
    study_description: str = ""
    accession_number: str = ""
    modality: str = ""
    source: str = ""  # as people read it
    sender: Sender = field(default=NOBODY, kw_only=True)


class Claimed(NamedTuple):
    """A name for the present arrival of a study, and whether its row names this sender."""

    arrival: str
    sent_first: bool


def orthanc_id(*identifiers: str) -> str:
    """Orthanc's public id of (PatientID, StudyInstanceUID, ...), as the Orthanc Book tells it."""
    digest = hashlib.sha1("|".join(identifiers).encode(), usedforsecurity=False).hexdigest()
    return "-".join(digest[i : i + 8] for i in range(0, 40, 8))


def claim(session: Session, tenant_id: str, arrival: Arrival) -> Claimed:
    """Make `tenant_id` the owner of a study, or reopen it.

    Raises `ForeignStudy`. System session.

    One statement decides it: two tenants who race get one owner.
    """
    row = session.execute(
        """
        INSERT INTO study AS s (study_instance_uid, tenant_id, orthanc_id, patient_id, patient_name,
                                study_date, study_description, accession_number, modalities, source,
                                calling_aet, called_aet, sender_address)
        VALUES (%(uid)s, %(tenant)s, %(orthanc)s, %(patient_id)s, %(patient_name)s, %(date)s,
                %(description)s, %(accession)s, %(modalities)s, %(source)s,
                %(calling)s, %(called)s, %(address)s)
        ON CONFLICT (study_instance_uid) DO UPDATE
        SET state = CASE WHEN s.state = 'stable' THEN 'receiving' ELSE s.state END,
            arrival = s.arrival + (s.state = 'stable')::int,
            last_received_at = now()
        WHERE s.tenant_id = excluded.tenant_id
        RETURNING s.first_received_at || ' ' || s.arrival AS name,
                  (s.calling_aet, s.called_aet, s.sender_address)
                  = (%(calling)s, %(called)s, %(address)s) AS sent_first
        """,
        {
            "uid": arrival.study_instance_uid,
            "tenant": tenant_id,
            "orthanc": orthanc_id(arrival.patient_id, arrival.study_instance_uid),
            "patient_id": arrival.patient_id,
            "patient_name": arrival.patient_name,
            "date": arrival.study_date,
            "description": arrival.study_description,
            "accession": arrival.accession_number,
            "modalities": [arrival.modality] if arrival.modality else [],
            "source": arrival.source,
            "calling": arrival.sender.calling_aet,
            "called": arrival.sender.called_aet,
            "address": arrival.sender.address,
        },
    ).fetchone()
    if row is None:
        raise ForeignStudy(f"StudyInstanceUID {arrival.study_instance_uid}.")
    return Claimed(str(row["name"]), bool(row["sent_first"]))


def mark_receiving(session: Session, study_instance_uid: str) -> None:
    """Note, before the first acknowledgement, that something of the study is on disk."""
    session.execute(
        "UPDATE study SET state = 'receiving', last_received_at = now() "
        "WHERE study_instance_uid = %s AND state = 'claimed'",
        [study_instance_uid],
    )


def record_progress(session: Session, studies: Iterable[tuple[str, int]]) -> None:
    """Add newly stored instances (study, how many) and note that their studies are alive."""
    for uid, instances in studies:
        row = session.execute(
            "UPDATE study SET last_received_at = now(), instance_count = instance_count + %s, "
            "state = CASE state WHEN 'claimed' THEN 'receiving' ELSE state END "
            "WHERE study_instance_uid = %s RETURNING tenant_id, "
            "EXISTS (SELECT FROM arrival_watch w WHERE w.tenant_id = study.tenant_id) AS watched",
            [instances, uid],
        ).fetchone()
        if row is not None and row["watched"]:
            publish(session, row["tenant_id"], StudyArriving(uid))


def watch_arrivals(session: Session, extension: str, *, wanted: bool) -> None:
    """Have, or no longer have, `StudyArriving` told for the session's tenant, once a second."""
    session.execute(
        "INSERT INTO arrival_watch (tenant_id, extension) SELECT current_tenant(), %(extension)s "
        "WHERE %(wanted)s ON CONFLICT DO NOTHING",
        {"extension": extension, "wanted": wanted},
    )
    session.execute(
        "DELETE FROM arrival_watch WHERE extension = %s AND NOT %s", [extension, wanted]
    )


def quiet(session: Session, *, seconds: float) -> list[tuple[str, str, int]]:
    """At most `MOST_QUIET` studies (UID, Orthanc id, arrival) that receive nothing any more.

    System session.
    """
    rows = session.execute(
        "SELECT study_instance_uid, orthanc_id, arrival FROM study WHERE state = 'receiving' "
        "AND last_received_at < now() - make_interval(secs => %s) "
        "ORDER BY last_received_at LIMIT %s",
        [seconds, MOST_QUIET],
    )
    return [(r["study_instance_uid"], r["orthanc_id"], r["arrival"]) for r in rows]


def mark_stable(
    session: Session,
    study_instance_uid: str,
    arrival: int,
    *,
    quiet_s: float,
    modalities: Sequence[str],
    series_count: int,
    instance_count: int,
) -> bool:
    """Make the study stable and publish `StudyStable`, once per arrival. False: it goes on."""
    row = session.execute(
        """
        UPDATE study SET state = 'stable', stable_at = now(), modalities = %(modalities)s,
                         series_count = %(series)s, instance_count = %(instances)s
        WHERE study_instance_uid = %(uid)s AND state = 'receiving' AND arrival = %(arrival)s
          AND last_received_at < now() - make_interval(secs => %(quiet)s)
        RETURNING tenant_id
        """,
        {
            "uid": study_instance_uid,
            "arrival": arrival,
            "quiet": quiet_s,
            "modalities": list(modalities),
            "series": series_count,
            "instances": instance_count,
        },
    ).fetchone()
    if row is None:
        return False
    publish(session, row["tenant_id"], StudyStable(study_instance_uid, arrival))
    return True


def let_go(session: Session, study_instance_uid: str) -> None:
    """Permit the deletion of a study, now; raises `StillNeeded`. System session.

    Needed is what an extension has not been told of yet, and what a job of its owner names that has
    not ended. What waits without a job extensions tell after it (`NodeHooks.study_unfinished`).
    A study that is arriving is not made stable in the next `DELETION_S`: so nothing new begins
    while it is deleted, and all of it does if the deletion fails or something more arrives.
    """
    # First: it waits for whoever is making the study stable, whose event is then seen below.
    session.execute(
        "UPDATE study SET last_received_at = now() + make_interval(secs => %s) "
        "WHERE study_instance_uid = %s AND state = 'receiving'",
        [DELETION_S, study_instance_uid],
    )
    row = session.execute(
        """
        SELECT array_agg(DISTINCT what ORDER BY what) AS needed FROM (
            SELECT j.extension || ': ' || j.task AS what
            FROM job j JOIN study USING (tenant_id, study_instance_uid)
            WHERE study_instance_uid = %(uid)s AND j.state IN ('waiting', 'running')
            UNION ALL
            SELECT o.kind FROM outbox o JOIN study s USING (tenant_id)
            WHERE s.study_instance_uid = %(uid)s AND o.dispatched_at IS NULL
              AND o.payload->>'study_instance_uid' = %(uid)s) AS work
        """,
        {"uid": study_instance_uid},
    ).fetchone()
    if row is not None and row["needed"]:
        raise StillNeeded(f"Not finished: {', '.join(row['needed'])}.")


def forget(session: Session, orthanc_id: str) -> None:
    """A study was deleted from the archive: free its UID and tell the listeners."""
    for row in session.execute(
        "DELETE FROM study WHERE orthanc_id = %s RETURNING tenant_id, study_instance_uid",
        [orthanc_id],
    ).fetchall():
        publish(session, row["tenant_id"], StudyDeleted(row["study_instance_uid"]))


def expired_claims(session: Session, *, seconds: float) -> list[tuple[str, str]]:
    """Claims (UID, Orthanc id) of which nothing was stored in time. System session."""
    rows = session.execute(
        "SELECT study_instance_uid, orthanc_id FROM study WHERE state = 'claimed' "
        "AND last_received_at < now() - make_interval(secs => %s)",
        [seconds],
    )
    return [(r["study_instance_uid"], r["orthanc_id"]) for r in rows]


def owners(session: Session) -> dict[str, str]:
    """The owner of every study, to fill a cache at start. System session."""
    return {
        r["study_instance_uid"]: r["tenant_id"]
        for r in session.execute("SELECT study_instance_uid, tenant_id FROM study")
    }


def find(session: Session, study_instance_uid: str) -> dict[str, Any] | None:
    """One study as the session may see it."""
    return session.execute(
        "SELECT * FROM study WHERE study_instance_uid = %s", [study_instance_uid]
    ).fetchone()
