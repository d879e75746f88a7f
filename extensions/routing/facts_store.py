"""The rows that keep the facts of each series. All functions take a tenant's session."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from extensions.routing.changes.original_attributes import BEFORE_STORAGE
from extensions.routing.rules.facts import Facts
from gateway.db import Session


@dataclass(frozen=True)
class Study:
    """A study as rules saw it: the facts of its series by their UID."""

    study_instance_uid: str
    series: Mapping[str, Facts]


def keep(session: Session, study_uid: str, series: Mapping[str, Facts]) -> None:
    """Keep what is known now of each series, unless the study has been deleted meanwhile."""
    session.execute(
        """
        WITH living AS (SELECT tenant_id, study_instance_uid FROM study
                        WHERE study_instance_uid = %s FOR KEY SHARE)
        INSERT INTO series_facts AS f (tenant_id, study_instance_uid, series_instance_uid, facts,
                                       instances)
        SELECT tenant_id, study_instance_uid, seen.* FROM living,
               unnest(%s::text[], %s::jsonb[], %s::integer[]) AS seen
        ON CONFLICT (tenant_id, study_instance_uid, series_instance_uid)
        DO UPDATE SET facts = excluded.facts, instances = excluded.instances,
                      grown_at = CASE WHEN f.instances = excluded.instances THEN f.grown_at
                                      ELSE now() END
        """,
        [
            study_uid,
            list(series),
            [Jsonb(facts) for facts in series.values()],
            [of_it["NumberOfSeriesRelatedInstances"][0] for of_it in series.values()],
        ],
    )


def growing(session: Session, study_uid: str, seconds: float) -> set[str]:
    """The series that got instances in the last seconds."""
    rows = session.execute(
        "SELECT series_instance_uid FROM series_facts WHERE study_instance_uid = %s "
        "AND grown_at > now() - make_interval(secs => %s)",
        [study_uid, seconds],
    )
    return {row["series_instance_uid"] for row in rows}


def forget(session: Session, study_uid: str) -> None:
    """The study was deleted."""
    session.execute("DELETE FROM series_facts WHERE study_instance_uid = %s", [study_uid])


def of_study(session: Session, study_uid: str) -> Study:
    """What was kept of one study; without series if nothing was."""
    rows = session.execute(
        "SELECT series_instance_uid, facts FROM series_facts WHERE study_instance_uid = %s",
        [study_uid],
    )
    return Study(study_uid, {row["series_instance_uid"]: row["facts"] for row in rows})


def corrected_series(session: Session, study_uid: str) -> int:
    """How many series of a study say that a rule changed them before they were stored."""
    row = session.execute(
        "SELECT count(*) AS n FROM series_facts WHERE study_instance_uid = %s AND facts @> %s",
        [study_uid, Jsonb({"OriginalAttributesSequence": [{"ModifyingSystem": [BEFORE_STORAGE]}]})],
    ).fetchone()
    return int(row["n"]) if row else 0


def recent(session: Session, *, studies: int, days: int | None = None) -> Iterator[Study]:
    """The last studies, newest first, read in portions; whole studies always."""
    with session.cursor(name="recent_facts") as cursor:
        cursor.execute(
            """
            WITH last AS (SELECT study_instance_uid, max(grown_at) AS grown_at FROM series_facts
                          WHERE %(days)s::integer IS NULL
                             OR grown_at > now() - make_interval(days => %(days)s)
                          GROUP BY study_instance_uid ORDER BY 2 DESC LIMIT %(studies)s)
            SELECT f.study_instance_uid, f.series_instance_uid, f.facts
            FROM last JOIN series_facts f USING (study_instance_uid)
            ORDER BY last.grown_at DESC, f.study_instance_uid, f.series_instance_uid
            """,
            {"studies": studies, "days": days},
        )
        uid, series = "", dict[str, Any]()
        for row in cursor:
            if row["study_instance_uid"] != uid and series:
                yield Study(uid, series)
                series = {}
            uid = row["study_instance_uid"]
            series[row["series_instance_uid"]] = row["facts"]
        if series:
            yield Study(uid, series)
