"""Finding records: each search is answered by an index, also among millions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from psycopg import sql

from gateway import correlation
from gateway.db import Row, Session
from gateway.errors import InvalidInput

VERDICTS = ("allowed", "denied", "failed")
FIELDS = ("actor", "action", "verdict", "resource", "correlation", "since", "until")
_UID = re.compile(r"[0-9.]{1,64}")
_LONGEST = 512
_CHUNK = 2000
_RECORDS = sql.SQL("SELECT * FROM audit WHERE {} ORDER BY audit_id")
# Whose record it is decides, not who exports: a refused look at another's study names no patient. A
# study that was received after the record is another one, whatever its UID. OFFSET 0: looked up by
# its key for each record, where one plan for both would sort the whole trail before its first line.
WITH_PATIENTS = sql.SQL("""
    SELECT a.*, s.patient_id, s.patient_name, s.accession_number, s.instance_count
    FROM (SELECT * FROM audit WHERE {}) AS a
    LEFT JOIN LATERAL (
        SELECT * FROM study WHERE study_instance_uid = substr(a.resource, 7) OFFSET 0
    ) AS s ON a.resource ^@ 'study ' AND s.tenant_id = a.tenant_id AND s.first_received_at <= a.at
    ORDER BY a.audit_id
""")


@dataclass(frozen=True)
class Search:
    """What to find; an empty field matches all. `since` <= time < `until`."""

    tenant_id: str = ""
    actor: str = ""
    action: str = ""
    verdict: str = ""
    resource: str = ""
    correlation: str = ""
    since: datetime | None = None
    until: datetime | None = None

    @classmethod
    def parse(cls, fields: Mapping[str, str]) -> Self:
        """From the words of a form or a command; raises `InvalidInput`."""
        words = {name: str(fields.get(name) or "").strip()[:_LONGEST] for name in FIELDS}
        if any("\0" in word for word in words.values()):
            raise InvalidInput("No field may hold a NUL character.")
        if words["verdict"] and words["verdict"] not in VERDICTS:
            raise InvalidInput(f"verdict: {', '.join(VERDICTS)}, or nothing.")
        since, until = words.pop("since"), words.pop("until")
        return cls(
            **words, since=_moment("since", since), until=_moment("until", until, whole_day=True)
        )

    def conditions(self) -> tuple[sql.Composable, dict[str, Any]]:
        """The condition of a WHERE, and its values."""
        parts: list[sql.Composable] = [sql.SQL("true")]
        values: dict[str, Any] = {}
        for name in ("tenant_id", "actor", "action", "correlation"):
            if value := getattr(self, name):
                parts.append(sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)))
                values[name] = value
        if self.verdict:  # literal: the planner must see that its index is meant
            parts.append(sql.SQL("verdict = {}").format(sql.Literal(self.verdict)))
        if self.resource:
            parts.append(sql.SQL("resource = ANY(%(resources)s)"))
            values["resources"] = resources(self.resource)
        for name, bound in (("since", ">="), ("until", "<")):
            if moment := getattr(self, name):
                parts.append(
                    sql.SQL("audit_id {} (SELECT audit_id_at({}))").format(
                        sql.SQL(bound), sql.Placeholder(name)
                    )
                )
                values[name] = moment
        return sql.SQL(" AND ").join(parts), values


def resources(text: str) -> list[str]:
    """How records may name what is searched for: a UID stands there with its level."""
    if _UID.fullmatch(text):
        return [text, *(f"{level} {text}" for level in ("study", "series", "instance"))]
    return [text]


def page(session: Session, search: Search, *, before: int | None, limit: int) -> list[Row]:
    """The newest `limit` records, of those with a number below `before`."""
    where, values = search.conditions()
    if before is not None:
        where = sql.SQL("{} AND audit_id < %(before)s").format(where)
        values["before"] = before
    statement = sql.SQL("SELECT * FROM audit WHERE {} ORDER BY audit_id DESC LIMIT %(limit)s")
    return session.execute(statement.format(where), values | {"limit": limit}).fetchall()


def stream(session: Session, search: Search, *, patients: bool = False) -> Iterator[Row]:
    """Every record, the oldest first, by a cursor of the server: never all in memory.

    `patients`: with what the archive now holds of a record's study, if the record is its owner's.
    """
    where, values = search.conditions()
    statement = (WITH_PATIENTS if patients else _RECORDS).format(where)
    with session.cursor(name=f"audit_{correlation.new()}") as cursor:
        cursor.itersize = _CHUNK
        cursor.execute(statement, values)
        yield from cursor


def known_actions(session: Session) -> list[str]:
    """Every action of which there are records, whoever's."""
    return [row["action"] for row in session.execute("SELECT audit_actions() AS action")]


def _moment(name: str, text: str, *, whole_day: bool = False) -> datetime | None:
    """A moment in ISO 8601, in UTC unless it says otherwise; a date is its start, or its end."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return (
            moment + timedelta(days=1) if whole_day and len(text) == len("2026-01-31") else moment
        )
    except (ValueError, OverflowError):
        raise InvalidInput(f"{name}: a date such as 2026-01-31.") from None
