"""The action *notify*: tell people by e-mail, or a program by a webhook, of what a rule caught.

Nothing that is told names a patient. Who was told is noted after it: at least once, and not again
when the run is repeated.
"""

from __future__ import annotations

import json
import uuid
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from extensions.routing import webhooks
from gateway import mail, vault
from gateway.actions import Effect, Subject
from gateway.context import TaskContext
from gateway.db import Session
from gateway.errors import GatewayError

_ADDRESS = r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$"
type Address = Annotated[str, Field(max_length=254, pattern=_ADDRESS)]


class NoMailServer(GatewayError):
    """A rule notifies by e-mail, and there is no mail server.

    A system admin names one in the settings `smtp_url` and `mail_from`; then release the study.
    """


class Notify(BaseModel):
    """Whom to tell."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    email: tuple[Address, ...] = Field(default=(), max_length=16, description="E-mail addresses.")
    webhook: str = Field(default="", max_length=64, description="Name of a webhook.")
    again: bool = Field(default=False, description="Also when more of the study arrives.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.email) == bool(self.webhook):
            raise ValueError("needs email or webhook; write two lines for both")
        return self

    @property
    def recipients(self) -> tuple[str, ...]:
        """As the rows name them."""
        if self.webhook:
            return (f"webhook:{self.webhook}",)
        return tuple(f"mailto:{address}" for address in self.email)


def notify(context: TaskContext, settings: Notify, subject: Subject) -> None:
    """Tell each who does not know yet; what cannot be reached is raised and tried again."""
    for recipient in settings.recipients:
        if not _knows(context, settings, subject, recipient):
            kind, _, name = recipient.partition(":")
            if kind == "webhook":
                _call(context, name, subject)
            else:
                _mail(context, name, subject)
            _note(context, subject, recipient)


def content(context: TaskContext, subject: Subject) -> dict[str, Any]:
    """What a webhook is told."""
    return {
        "rule": subject.rule_name,
        "study_instance_uid": subject.study_instance_uid,
        "series_instance_uid": subject.series_instance_uid or None,
        "instances": len(subject.instances),
        "round": subject.round,
        "url": f"{context.settings.url}/studies/{subject.study_instance_uid}",
    }


def _call(context: TaskContext, name: str, subject: Subject) -> None:
    with context.database.tenant_session(context.tenant_id) as session:
        webhook = webhooks.named(session, name)
    secret = vault.unseal(context.settings.encryption_key, webhook.secret)
    told = content(context, subject)
    # By it the receiver knows what it has already; its address may be several tenants'.
    told["id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([context.tenant_id, name, told])))
    webhooks.call(webhook, secret, json.dumps(told).encode(), told["id"])


def _mail(context: TaskContext, address: str, subject: Subject) -> None:
    if not mail.is_set_up(context.settings):
        raise NoMailServer
    told = content(context, subject)
    more = f" It has done so before: time {subject.round}." if subject.round > 1 else ""
    text = (
        f"The rule “{subject.rule_name}” has caught a study with {told['instances']} "
        f"instance(s).{more}\n\n{told['url']}\n\nStudyInstanceUID {subject.study_instance_uid}\n"
    )
    mail.send(context.settings, address, f"Argonath: {subject.rule_name}", text)


def _knows(context: TaskContext, settings: Notify, subject: Subject, recipient: str) -> bool:
    with context.database.tenant_session(context.tenant_id) as session:
        row = session.execute(
            "SELECT round FROM notification WHERE study_instance_uid = %s "
            "AND series_instance_uid = %s AND rule_name = %s AND recipient = %s",
            [*_key(subject), recipient],
        ).fetchone()
    return row is not None and (not settings.again or row["round"] >= subject.round)


def _note(context: TaskContext, subject: Subject, recipient: str) -> None:
    with context.database.tenant_session(context.tenant_id) as session:
        session.execute(
            "INSERT INTO notification (tenant_id, study_instance_uid, series_instance_uid, "
            "rule_name, recipient, round) VALUES (current_tenant(), %s, %s, %s, %s, %s) "
            "ON CONFLICT (tenant_id, study_instance_uid, series_instance_uid, rule_name, "
            "recipient) DO UPDATE SET round = excluded.round, told_at = now()",
            [*_key(subject), recipient, subject.round],
        )


def forget(session: Session, study_uid: str, series_uid: str, rule_name: str) -> None:
    """Who was told is told again: a person has asked for it."""
    session.execute(
        "DELETE FROM notification WHERE study_instance_uid = %s AND series_instance_uid = %s "
        "AND rule_name = %s",
        [study_uid, series_uid, rule_name],
    )


def _key(subject: Subject) -> tuple[str, str, str]:
    return subject.study_instance_uid, subject.series_instance_uid, subject.rule_name


NOTIFY = Effect("notify", "Notify", Notify, notify)
