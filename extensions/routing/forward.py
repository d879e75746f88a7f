"""The action *forward*: plan a delivery of what the rule has caught."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from extensions.routing import destinations, ledger, progress
from gateway.actions import Effect, Subject
from gateway.context import TaskContext


class Forward(BaseModel):
    """Where to."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    to: str = Field(min_length=1, max_length=64, description="Name of a destination.")


def forward(context: TaskContext, settings: Forward, subject: Subject) -> None:
    """Note each instance in the ledger and have it sent; what is noted already stays as it is."""
    with context.database.tenant_session(context.tenant_id) as session:
        destination = destinations.named(session, settings.to)
        delivery_id, added = progress.plan(session, destination, subject)
        if added:  # so a second run of this job makes no second one
            ledger.enqueue_delivery(
                session,
                context.tenant_id,
                delivery_id,
                destination.destination_id,
                subject.study_instance_uid,
            )


FORWARD = Effect("forward", "Forward to a destination", Forward, forward)
