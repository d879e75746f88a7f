"""What is remembered of the studies of a source. A tenant's session."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from extensions.polling.news import Known, retry_after_s
from gateway.db import Session


@dataclass(frozen=True)
class Failed:
    """A study that could not be retrieved; `next_try_at` None: not before it changes there."""

    study_instance_uid: str
    failures: int
    last_error: str
    next_try_at: datetime | None


def known(session: Session, source_id: int, studies: Collection[str]) -> dict[str, Known]:
    """What is remembered of these studies, by UID."""
    rows = session.execute(
        "SELECT study_instance_uid, instances, failures, next_try_at FROM polling_study "
        "WHERE source_id = %s AND study_instance_uid = ANY(%s)",
        [source_id, list(studies)],
    )
    return {
        row["study_instance_uid"]: Known(row["instances"], row["failures"], row["next_try_at"])
        for row in rows
    }


def remember(
    session: Session, source_id: int, study: str, instances: int, *, brought: bool
) -> None:
    """All `instances` of a study at the source are here; `brought`: some came just now."""
    session.execute(
        """
        INSERT INTO polling_study AS s (source_id, tenant_id, study_instance_uid, instances,
                                        retrieved_at)
        SELECT source_id, tenant_id, %(study)s, %(instances)s, CASE WHEN %(brought)s THEN now() END
        FROM polling_source WHERE source_id = %(source)s
        ON CONFLICT (source_id, study_instance_uid) DO UPDATE
        SET instances = excluded.instances, failures = 0, next_try_at = NULL, last_error = NULL,
            retrieved_at = coalesce(excluded.retrieved_at, s.retrieved_at), updated_at = now()
        WHERE s.failures > 0 OR s.instances <> excluded.instances
              OR excluded.retrieved_at IS NOT NULL
        """,
        {"source": source_id, "study": study, "instances": instances, "brought": brought},
    )


def fail(
    session: Session,
    source_id: int,
    study: str,
    instances: int,
    error: str,
    *,
    failures: int,
    permanent: bool,
) -> None:
    """A study could not be retrieved, `failures` times by now."""
    session.execute(
        """
        INSERT INTO polling_study (source_id, tenant_id, study_instance_uid, instances, failures,
                                   next_try_at, last_error)
        SELECT source_id, tenant_id, %(study)s, %(instances)s, %(failures)s,
               now() + make_interval(secs => %(pause)s), %(error)s
        FROM polling_source WHERE source_id = %(source)s
        ON CONFLICT (source_id, study_instance_uid) DO UPDATE
        SET instances = excluded.instances, failures = excluded.failures,
            next_try_at = excluded.next_try_at, last_error = excluded.last_error, updated_at = now()
        """,
        {
            "source": source_id,
            "study": study,
            "instances": instances,
            "failures": failures,
            "pause": None if permanent else retry_after_s(failures),
            "error": error,
        },
    )


def failed(session: Session, source_id: int, limit: int = 100) -> list[Failed]:
    """The studies that could not be retrieved, the latest first."""
    rows = session.execute(
        "SELECT study_instance_uid, failures, coalesce(last_error, '') AS last_error, next_try_at "
        "FROM polling_study WHERE source_id = %s AND failures > 0 "
        "ORDER BY updated_at DESC LIMIT %s",
        [source_id, limit],
    )
    return [Failed(**row) for row in rows]


def counts(session: Session) -> dict[int, tuple[int, int]]:
    """By source: how many studies were retrieved, and how many failed."""
    rows = session.execute(
        "SELECT source_id, count(*) FILTER (WHERE retrieved_at IS NOT NULL) AS retrieved, "
        "count(*) FILTER (WHERE failures > 0) AS failed FROM polling_study GROUP BY source_id"
    )
    return {row["source_id"]: (row["retrieved"], row["failed"]) for row in rows}
