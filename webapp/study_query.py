"""The study list's search, as one value that becomes one statement and one address."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self
from urllib.parse import urlencode

from psycopg import sql

from gateway.db import Row, Session
from gateway.errors import InvalidInput
from gateway.portal import Badge
from webapp import extensions

SORTS = {
    "patient": "lower(patient_name)",
    "id": "patient_id",
    "date": "study_date",
    "modality": "modalities",
    "description": "lower(study_description)",
    "received": "first_received_at",
}
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class StudyQuery:
    """What to look for, in which order, and which page of it."""

    patient: str = ""
    accession: str = ""
    modality: str = ""
    since: str = ""
    until: str = ""
    sort: str = "received"
    order: str = "desc"
    page: int = 1
    per_page: int = 50

    @classmethod
    def of(cls, arguments: Mapping[str, str]) -> Self:
        """Read an address; raises `InvalidInput` that names the wrong value."""
        texts = {
            name: arguments.get(name, "").strip()[:128]
            for name in ("patient", "accession", "modality", "since", "until")
        }
        for name in ("since", "until"):
            if texts[name] and not _DATE.fullmatch(texts[name]):
                raise InvalidInput(f"{name} {texts[name]!r}: a date is written YYYY-MM-DD.")
        sort, page = arguments.get("sort", "received"), arguments.get("page", "1")
        if sort not in SORTS:
            raise InvalidInput(f"sort {sort!r}: one of {', '.join(SORTS)}.")
        if not (page.isascii() and page.isdigit() and 0 < int(page) < 1_000_000):
            raise InvalidInput(f"page {page!r}: a number from 1.")
        order = "asc" if arguments.get("order") == "asc" else "desc"
        return cls(sort=sort, order=order, page=int(page), **_as_any(texts))

    @property
    def is_search(self) -> bool:
        """Whether anything narrows the list."""
        return any((self.patient, self.accession, self.modality, self.since, self.until))

    def url(self, **changes: Any) -> str:
        """The address of this search with `changes`; what is default is left out."""
        wanted, default = asdict(replace(self, **changes)), asdict(StudyQuery())
        return "/studies?" + urlencode({k: v for k, v in wanted.items() if v != default[k]})

    def sorted_by(self, column: str) -> str:
        """The address that sorts by `column`, the other way round if it does already."""
        ascending = self.order == "desc"
        if column != self.sort:
            ascending = column not in ("date", "received")
        return self.url(sort=column, order="asc" if ascending else "desc", page=1)

    def run(self, session: Session) -> tuple[list[Row], int]:
        """The studies of the page, and how many there are in all."""
        conditions, values = self._conditions()
        statement = sql.SQL(
            "SELECT *, count(*) OVER () AS total FROM study WHERE {} "
            "ORDER BY {} {}, study_instance_uid LIMIT %(limit)s OFFSET %(offset)s"
        ).format(
            sql.SQL(" AND ").join([sql.SQL("true"), *conditions]),
            sql.SQL(SORTS[self.sort]),
            sql.SQL("ASC" if self.order == "asc" else "DESC"),
        )
        values |= {"limit": self.per_page, "offset": (self.page - 1) * self.per_page}
        rows = session.execute(statement, values).fetchall()
        return rows, rows[0]["total"] if rows else 0

    def _conditions(self) -> tuple[list[sql.Composable], dict[str, Any]]:
        conditions: list[sql.Composable] = []
        values: dict[str, Any] = {}
        for number, word in enumerate(re.split(r"[\s,^]+", self.patient.strip())):
            if word:
                value = sql.Placeholder(f"word{number}")
                conditions.append(
                    sql.SQL("(patient_name ILIKE {0} OR patient_id ILIKE {0})").format(value)
                )
                values[f"word{number}"] = _pattern(word)
        if self.accession:
            conditions.append(sql.SQL("accession_number ILIKE %(accession)s"))
            values["accession"] = _pattern(self.accession)
        if self.modality:
            conditions.append(sql.SQL("%(modality)s = ANY (modalities)"))
            values["modality"] = self.modality.upper()
        for name, comparison in (("since", ">="), ("until", "<=")):
            if date := getattr(self, name):
                conditions.append(
                    sql.SQL("study_date <> '' AND study_date {} {}").format(
                        sql.SQL(comparison), sql.Placeholder(name)
                    )
                )
                values[name] = date.replace("-", "")
        return conditions, values


def _as_any(texts: dict[str, str]) -> dict[str, Any]:
    return dict(texts)  # all are fields of type str, which a checker cannot see


def _pattern(word: str) -> str:
    escaped = re.sub(r"([\\%_])", r"\\\1", word)
    return "%" + escaped.replace("*", "%").replace("?", "_") + "%"


def with_badges(tenant_id: str, studies: list[Row]) -> list[Row]:
    """The studies with what the extensions say of each (`badges`)."""
    uids = [study["study_instance_uid"] for study in studies]
    badges: dict[str, list[Badge]] = {uid: [] for uid in uids}
    for answer in extensions.ask("study_badges", tenant_id=tenant_id, study_uids=uids):
        for uid, found in answer.items():
            badges.get(uid, []).extend(found)
    return [study | {"badges": badges[study["study_instance_uid"]]} for study in studies]
