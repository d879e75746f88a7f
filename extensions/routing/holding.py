"""The actions *hold* and *discard*: a person decides, or nothing more is done."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from extensions.routing.acting import Discarded
from gateway.actions import Effect, NeedsPerson, Subject
from gateway.context import TaskContext


class Reason(BaseModel):
    """Why."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    reason: str = Field(min_length=1, max_length=256, description="Shown with the study.")


def hold(_context: TaskContext, settings: Reason, _subject: Subject) -> None:
    """The actions after it wait until somebody releases the study."""
    raise NeedsPerson(settings.reason)


def discard(_context: TaskContext, settings: Reason, _subject: Subject) -> None:
    """The actions after it are not done; the study stays in the archive."""
    raise Discarded(settings.reason)


HOLD = Effect("hold", "Hold for a person", Reason, hold)
DISCARD = Effect("discard", "Do nothing more", Reason, discard)
