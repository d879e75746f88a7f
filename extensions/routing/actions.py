"""What rules can do by routing itself."""

from __future__ import annotations

from pydicom import Dataset

from extensions.routing.changes import crosswalk
from extensions.routing.changes.arrival import arrived_at
from extensions.routing.changes.crosswalk_settings import Crosswalk
from extensions.routing.changes.morph import morph
from extensions.routing.changes.morph_settings import Morph
from extensions.routing.changes.original_attributes import Note
from extensions.routing.forward import FORWARD
from extensions.routing.holding import DISCARD, HOLD
from extensions.routing.job_action import JOB
from extensions.routing.labels import LABEL
from extensions.routing.notify import NOTIFY
from gateway.actions import Action, Change, Transform
from gateway.context import TaskContext


def prepare_morph(context: TaskContext, settings: Morph, study_uid: str) -> Change:
    """The changes of a rule's line; the note's time is that of the study's arrival."""
    at = arrived_at(context, study_uid)
    note = Note(at, "ARGONATH morph", settings.reason, settings.source)

    def change(dataset: Dataset) -> Dataset:
        return morph(dataset, settings.changes, note)

    return change


ACTIONS: tuple[Action, ...] = (
    FORWARD,
    Transform("morph", "Change tags", Morph, prepare_morph),
    Transform("crosswalk", "Set tags by a table", Crosswalk, crosswalk.prepare, crosswalk.preview),
    LABEL,
    HOLD,
    DISCARD,
    NOTIFY,
    JOB,
)
