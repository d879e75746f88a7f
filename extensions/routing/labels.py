"""The action *label*, and the rows that hold a study's labels.

They are routing's own words for a study, for conditions and for people. They are not the archive's
labels, which keep tenants apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.actions import Effect, Subject
from gateway.context import TaskContext
from gateway.db import Session

type Label = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^\S(.*\S)?$")]


class Labels(BaseModel):
    """What to add and what to take away."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    add: tuple[Label, ...] = Field(default=(), max_length=16, description="Labels to add.")
    remove: tuple[Label, ...] = Field(default=(), max_length=16, description="Labels to remove.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.add and not self.remove:
            raise ValueError("needs add, remove or both")
        return self


def label(context: TaskContext, settings: Labels, subject: Subject) -> None:
    """Change the study's labels; rules that are looked at later see them."""
    with context.database.tenant_session(context.tenant_id) as session:
        session.execute(
            "INSERT INTO study_label (tenant_id, study_instance_uid, label) "
            "SELECT current_tenant(), %s, unnest(%s::text[]) ON CONFLICT DO NOTHING",
            [subject.study_instance_uid, list(settings.add)],
        )
        session.execute(
            "DELETE FROM study_label WHERE study_instance_uid = %s AND label = ANY(%s)",
            [subject.study_instance_uid, list(settings.remove)],
        )


LABEL = Effect("label", "Label the study", Labels, label)


def of_study(session: Session, study_uid: str) -> list[str]:
    """The labels of a study, in order."""
    return list(of_studies(session, [study_uid]).get(study_uid, ()))


def of_studies(session: Session, study_uids: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """The labels of each study that has any."""
    rows = session.execute(
        "SELECT study_instance_uid, array_agg(label ORDER BY label) AS labels FROM study_label "
        "WHERE study_instance_uid = ANY(%s) GROUP BY study_instance_uid",
        [list(study_uids)],
    )
    return {row["study_instance_uid"]: row["labels"] for row in rows}


def forget(session: Session, study_uid: str) -> None:
    """The study was deleted."""
    session.execute("DELETE FROM study_label WHERE study_instance_uid = %s", [study_uid])
