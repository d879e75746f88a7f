"""The action `anonymize`: copies for a research project, whose options say what they keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from gateway.actions import Change, NeedsPerson, Transform
from gateway.context import TaskContext
from gateway.errors import NotFound

if TYPE_CHECKING:
    from pydicom import Dataset

    from extensions.anonymize.person import Person
    from extensions.anonymize.projects import Project

_BURNED_IN = (
    "Text may be burned into the pixels, which is not cleaned. Cancel it, or send the study to a "
    "project that lets such objects pass."
)


class AnonymizeSettings(BaseModel):
    """The research project, by its name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    project: str = Field(
        pattern=r"^[A-Z][A-Z0-9]{1,15}$", description="Name of a research project."
    )


def prepare(context: TaskContext, settings: AnonymizeSettings, study_uid: str) -> Change:
    """Look up the project and the patient, and keep the way back.

    Raises `NotFound` for the project or the study, and `NeedsPerson` for what cannot be
    de-identified by rule.
    """
    from extensions.anonymize import identities

    key = context.settings.encryption_key
    project, person = _look_up(context, settings, study_uid)
    with context.database.tenant_session(context.tenant_id) as session:
        identities.remember(session, project, person, key)
    return change_for(project, person, key)


def preview(context: TaskContext, settings: AnonymizeSettings, study_uid: str) -> Change:
    """The same, for a try-out: no way back is kept."""
    project, person = _look_up(context, settings, study_uid)
    return change_for(project, person, context.settings.encryption_key)


def _look_up(
    context: TaskContext, settings: AnonymizeSettings, study_uid: str
) -> tuple[Project, Person]:
    from extensions.anonymize import projects

    with context.database.tenant_session(context.tenant_id) as session:
        project = projects.find_project(session, settings.project)
    heads = [head.metadata for head in context.archive.heads_of(study_uid)]
    return project, _person(heads, study_uid)


def change_for(project: Project, person: Person, encryption_key: str) -> Change:
    """From an instance to its de-identified copy; raises `NeedsPerson` for burned-in text."""
    from extensions.anonymize.burned_in import may_be_burned_in
    from extensions.anonymize.profile import apply
    from extensions.anonymize.table import table_for

    keys, table = project.keys(encryption_key), table_for(project.options)

    def change(dataset: Dataset) -> Dataset:
        told = (str(dataset.get(k) or "") for k in ("SOPClassUID", "BurnedInAnnotation"))
        if project.options.burned_in == "refuse" and may_be_burned_in(*told):
            raise NeedsPerson(_BURNED_IN)
        return apply(dataset, table, keys, person)

    return change


def _person(heads: list[dict[str, Any]], study_uid: str) -> Person:
    from extensions.anonymize.person import Person

    if not heads:
        raise NotFound(f"Study {study_uid}.")
    ids = {_told(head, "00100020") for head in heads}
    if len(ids) > 1:
        raise NeedsPerson("The study names more than one patient ID. Correct it, or discard it.")
    head = heads[0]
    return Person(
        _told(head, "00100020"), _told(head, "00100010"), _told(head, "00100030"), study_uid
    )


def _told(head: dict[str, Any], tag: str) -> str:
    """The first value of a DICOM JSON element; of a name, all of its groups."""
    value = (head.get(tag, {}).get("Value") or [""])[0]
    return "=".join(value.values()) if isinstance(value, dict) else str(value)


ANONYMIZE = Transform(
    "anonymize", "De-identify for a research project", AnonymizeSettings, prepare, preview
)
