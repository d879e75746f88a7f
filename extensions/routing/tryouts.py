"""Trying a draft of the rules on the last studies: the rows, and the job that fills them in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import batched
from typing import Any

from psycopg.types.json import Jsonb

from extensions.routing import facts_store, rulebook, tryout_changes
from extensions.routing.rules.rule import RuleDocument, parse_rules
from extensions.routing.rules.trying import Report, look_at
from gateway import jobs, results
from gateway.context import TaskContext
from gateway.db import Row, Session
from gateway.errors import NotFound

AT_ONCE = 50  # studies
TELL_EVERY = 500
KEEP = 20  # of a tenant


@dataclass(frozen=True)
class Tryout:
    """A draft, on how many studies it is tried, and what came of it so far.

    `state` is ``running``, ``done``, or ``failed`` for good, for the reason `cause`.
    """

    tryout_id: int
    rules: list[dict[str, Any]]
    most_studies: int
    days: int | None
    state: str
    looked_at: int
    report: Mapping[str, Any]
    author: str
    created_at: datetime
    cause: str


# The job says how it ended, as nothing else does when its worker was killed. It was made in the
# try-out's own transaction, so at the same moment, by which the index finds it; it is forgotten
# some time after it has ended.
_GET = """
    SELECT t.*, j.state AS job_state, coalesce(j.last_error, '') AS cause FROM tryout t
    LEFT JOIN job j ON j.created_at = t.created_at AND j.tenant_id = t.tenant_id
        AND j.extension = 'routing' AND j.task = 'try_rules'
        AND j.arguments @> jsonb_build_object('tryout_id', t.tryout_id)
    WHERE tryout_id = %s
"""


def start(
    session: Session,
    draft: Sequence[RuleDocument],
    *,
    most_studies: int,
    days: int | None,
    author: str,
) -> int:
    """Have the draft tried by a worker; the number of the try-out. Old ones go."""
    row = session.execute(
        "INSERT INTO tryout (tenant_id, rules, most_studies, days, author) "
        "VALUES (current_tenant(), %s, %s, %s, %s) RETURNING tryout_id, tenant_id",
        [Jsonb([rule.as_json() for rule in draft]), most_studies, days, author],
    ).fetchone()
    assert row is not None
    session.execute(
        "DELETE FROM tryout WHERE tryout_id <= "
        "(SELECT tryout_id FROM tryout ORDER BY tryout_id DESC OFFSET %s LIMIT 1)",
        [KEEP],
    )
    jobs.enqueue(
        session,
        tenant_id=row["tenant_id"],
        extension="routing",
        task="try_rules",
        arguments={"tryout_id": row["tryout_id"]},
    )
    return int(row["tryout_id"])


def get(session: Session, tryout_id: int) -> Tryout:
    """One try-out; raises `NotFound`."""
    row = session.execute(_GET, [tryout_id]).fetchone()
    if row is None:
        raise NotFound(f"Try-out {tryout_id}.")
    if row["state"] == "running" and row["job_state"] in {"failed", None}:
        row |= {"state": "failed", "cause": row["cause"] or "nobody knows any more why."}
    return Tryout(**{name: row[name] for name in Tryout.__dataclass_fields__})


def recent(session: Session, limit: int = 5) -> list[Row]:
    """The latest, newest first: number, author, and when."""
    return session.execute(
        "SELECT tryout_id, author, created_at FROM tryout ORDER BY tryout_id DESC LIMIT %s", [limit]
    ).fetchall()


def forget(session: Session, study_uid: str) -> None:
    """The study was deleted: so are the values of its tags."""
    session.execute(
        """
        UPDATE tryout SET report = jsonb_set(report, '{changes}', (
            SELECT coalesce(jsonb_agg(example), '[]')
            FROM jsonb_array_elements(report -> 'changes') AS example
            WHERE example ->> 'study_instance_uid' <> %(study)s))
        WHERE report -> 'changes' @> jsonb_build_array(
            jsonb_build_object('study_instance_uid', %(study)s::text))
        """,
        {"study": study_uid},
    )


def run(context: TaskContext, tryout_id: int) -> None:
    """Look at each study once, and at the copies of a few; how far it is stands in the row."""
    report, now = Report(), datetime.now().astimezone()
    with context.database.tenant_session(context.tenant_id) as session:
        tryout = get(session, tryout_id)
        live = rulebook.live(session).rules
    draft = parse_rules(tryout.rules)
    with context.database.tenant_session(context.tenant_id) as session:
        found = facts_store.recent(session, studies=tryout.most_studies, days=tryout.days)
        for portion in batched(found, AT_ONCE, strict=False):
            known = results.of_studies(session, [study.study_instance_uid for study in portion])
            for study in portion:
                look_at(
                    report,
                    study.study_instance_uid,
                    study.series,
                    draft=draft,
                    live=live,
                    transforms=context.actions.transforms,
                    now=now,
                    results=known.get(study.study_instance_uid),
                )
            if report.studies % TELL_EVERY == 0:
                _tell(context, tryout_id, report, "running")
    _tell(context, tryout_id, report, "running")
    new = [rule for rule in draft if rule not in live] or draft
    for change in tryout_changes.of_examples(context, new, report.examples):
        report.changes.append(change.as_json())
    _tell(context, tryout_id, report, "done")


def _tell(context: TaskContext, tryout_id: int, report: Report, state: str) -> None:
    with context.database.tenant_session(context.tenant_id) as session:
        session.execute(
            "UPDATE tryout SET looked_at = %s, report = %s, state = %s WHERE tryout_id = %s",
            [report.studies, Jsonb(report.as_json()), state, tryout_id],
        )


def count_studies(session: Session, tryout: Tryout) -> int:
    """How many studies there are to look at, at most."""
    row = session.execute(
        "SELECT count(DISTINCT study_instance_uid) AS n FROM series_facts "
        "WHERE %(days)s::integer IS NULL OR grown_at > now() - make_interval(days => %(days)s)",
        {"days": tryout.days},
    ).fetchone()
    return int(row["n"]) if row else 0
