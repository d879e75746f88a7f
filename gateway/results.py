"""What extensions have found out about a study, by name. Rules look at it as `result.NAME`.

One value for each name of a study: who notes it again replaces it. It goes with the study.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from unicodedata import category

from psycopg.types.json import Jsonb

from gateway.db import Session
from gateway.errors import InvalidInput, NotFound
from gateway.events import ResultNoted, publish

type Scalar = str | int | float | bool
type Value = Scalar | Sequence[Scalar]

LONGEST_BYTES = 1024  # of a text
MOST_VALUES = 64
_NAME = re.compile(r"[a-z0-9_.-]{1,64}")


@dataclass(frozen=True)
class Result:
    """A value, and which extension has found it when."""

    name: str
    value: Value
    extension: str
    noted_at: datetime

    @property
    def text(self) -> str:
        """The value for people."""
        values = [self.value] if isinstance(self.value, str | int | float) else self.value
        return ", ".join(str(one).lower() if isinstance(one, bool) else str(one) for one in values)


def note(session: Session, study_uid: str, name: str, value: Value, *, extension: str) -> None:
    """Note a result of a study; if it is new or another one, `ResultNoted` is told.

    Takes a session of the study's tenant; raises `NotFound` for a study that is not (or no longer)
    the tenant's, `InvalidInput` for a name or value that rules could not look at.
    """
    _check(name, value)
    # Held until the end of the transaction: a study that is deleted takes its results along.
    study = session.execute(
        "SELECT tenant_id FROM study WHERE study_instance_uid = %s FOR KEY SHARE", [study_uid]
    ).fetchone()
    if study is None:
        raise NotFound(f"Study {study_uid}.")
    noted = session.execute(
        """
        INSERT INTO study_result AS r (tenant_id, study_instance_uid, name, value, extension)
        VALUES (%s, %s, %s, %s, %s)
        ON CONFLICT (study_instance_uid, name) DO UPDATE
        SET value = excluded.value, extension = excluded.extension, noted_at = now()
        WHERE (r.value, r.extension) IS DISTINCT FROM (excluded.value, excluded.extension)
        """,
        [study["tenant_id"], study_uid, name, Jsonb(value), extension],
    ).rowcount
    if noted:
        publish(session, study["tenant_id"], ResultNoted(study_uid, name))


def of_study(session: Session, study_uid: str) -> list[Result]:
    """The results of a study, by name."""
    rows = session.execute(
        "SELECT name, value, extension, noted_at FROM study_result WHERE study_instance_uid = %s "
        "ORDER BY name",
        [study_uid],
    )
    return [Result(**row) for row in rows]


def of_studies(session: Session, study_uids: Sequence[str]) -> Mapping[str, Mapping[str, Value]]:
    """The values by name of each study that has any."""
    rows = session.execute(
        "SELECT study_instance_uid, jsonb_object_agg(name, value) AS results FROM study_result "
        "WHERE study_instance_uid = ANY(%s) GROUP BY study_instance_uid",
        [list(study_uids)],
    )
    return {row["study_instance_uid"]: row["results"] for row in rows}


def _check(name: str, value: Value) -> None:
    if not _NAME.fullmatch(name):
        told = "use 1 to 64 of a-z, 0-9, _ . and -"
        raise InvalidInput(f"name: {name[:64]!r} cannot be the name of a result; {told}.")
    values = [value] if isinstance(value, str | int | float) else value
    if not isinstance(values, list | tuple) or len(values) > MOST_VALUES:
        told = f"a text, a number, True, False, or a list of at most {MOST_VALUES} of them"
        raise InvalidInput(f"value: result {name!r} must be {told}.")
    for each in values:
        if not _is_noted_whole(each):
            told = f"a text of at most {LONGEST_BYTES} bytes without control characters"
            raise InvalidInput(f"value: result {name!r} must hold {told}, or a finite number.")


def _is_noted_whole(value: object) -> bool:
    if isinstance(value, str):
        clean = not any(category(character) in {"Cc", "Cs"} for character in value)
        return clean and len(value.encode()) <= LONGEST_BYTES
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max
