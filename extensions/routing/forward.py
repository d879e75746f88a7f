"""The action *forward*: plan a delivery of what the rule has caught."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from extensions.routing import destinations, progress
from gateway.actions import Effect, Subject
from gateway.context import TaskContext


class Forward(BaseModel):
    """Where to."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    to: str = Field(min_length=1, max_length=64, description="Name of a destination.")


def forward(context: TaskContext, settings: Forward, subject: Subject) -> None:
    """Note each instance in the ledger and have it sent; what is noted already stays as it is."""
    with context.database.tenant_session(context.tenant_id) as session:
        progress.plan(session, destinations.named(session, settings.to), subject)


FORWARD = Effect("forward", "Forward to a destination", Forward, forward)
