"""Webhooks of a tenant: addresses that rules notify, each with a secret that signs what it gets.

All functions with a session take a tenant's. Secrets are sealed in the rows.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import httpx
from pydantic import Field, TypeAdapter, ValidationError

from extensions.routing import rulebook
from extensions.routing.rules.rule import RuleDocument
from gateway import audit, vault
from gateway.addresses import HttpUrl
from gateway.db import Session
from gateway.errors import Conflict, GatewayError, InvalidInput, NotFound

TIMEOUT_S = 15.0
TRY_AGAIN = frozenset({408, 429})
_URL: TypeAdapter[str] = TypeAdapter(Annotated[HttpUrl, Field(max_length=1024)])


class NoSuchWebhook(GatewayError):
    """A rule notifies a webhook that does not exist.

    Add a webhook of that name, or change the rule; then release the study.
    """


class WebhookUnavailable(GatewayError):
    """A webhook did not take a notification now.

    It is tried again by itself; check the webhook's address and that its service runs.
    """

    http_status = 502
    permanent = False


class WebhookRefused(GatewayError):
    """A webhook refused a notification for good.

    Correct the webhook's address, or what its service accepts; then release the study.
    """

    http_status = 502


@dataclass(frozen=True)
class Webhook:
    """Where to, and the sealed secret."""

    webhook_id: int
    name: str
    url: str
    secret: str


def list_webhooks(session: Session) -> list[Webhook]:
    """Every webhook, by name."""
    rows = session.execute("SELECT webhook_id, name, url, secret FROM webhook ORDER BY name")
    return [Webhook(**row) for row in rows]


def named(session: Session, name: str) -> Webhook:
    """The webhook of that name; raises `NoSuchWebhook`."""
    row = session.execute(
        "SELECT webhook_id, name, url, secret FROM webhook WHERE name = %s", [name]
    ).fetchone()
    if row is None:
        raise NoSuchWebhook(repr(name))
    return Webhook(**row)


def put(
    session: Session, name: str, url: str, *, encryption_key: str, actor: str, origin: str = ""
) -> str:
    """Add a webhook, or change the one of that name; its new secret, which is shown only now.

    Raises `InvalidInput` that names the field.
    """
    name = name.strip()
    if not (1 <= len(name) <= 64 and name.isprintable()):
        raise InvalidInput("name: 1 to 64 characters.")
    try:
        url = _URL.validate_python(url)
    except ValidationError as error:
        told = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise InvalidInput(f"url: {told}.") from None
    secret = secrets.token_urlsafe(32)
    session.execute(
        "INSERT INTO webhook (tenant_id, name, url, secret) "
        "VALUES (current_tenant(), %s, %s, %s) ON CONFLICT (tenant_id, name) "
        "DO UPDATE SET url = excluded.url, secret = excluded.secret",
        [name, url, vault.seal(encryption_key, secret)],
    )
    _audit(session, "change-webhook", name, url, actor, origin)
    return secret


def delete(session: Session, webhook_id: int, *, actor: str, origin: str = "") -> None:
    """Remove a webhook that neither rules nor the alert use; raises `NotFound` or `Conflict`."""
    found = [webhook for webhook in list_webhooks(session) if webhook.webhook_id == webhook_id]
    if not found:
        raise NotFound(f"Webhook {webhook_id}.")
    used_by = notifying(rulebook.live(session).rules, found[0].name)
    if used_by:
        raise Conflict(f"Rule {used_by[0]!r} notifies {found[0].name!r}; change that rule.")
    alerts = session.execute("SELECT FROM stuck_alert WHERE webhook = %s", [found[0].name])
    if alerts.fetchone() is not None:
        raise Conflict(f"The alert calls {found[0].name!r}; change the alert.")
    session.execute("DELETE FROM webhook WHERE webhook_id = %s", [webhook_id])
    _audit(session, "delete-webhook", found[0].name, found[0].url, actor, origin)


def notifying(rules: Sequence[RuleDocument], name: str) -> list[str]:
    """The names of the rules that notify a webhook."""
    return [
        rule.name
        for rule in rules
        if any(s.action == "notify" and s.settings.get("webhook") == name for s in rule.actions)
    ]


def call(webhook: Webhook, secret: str, body: bytes, identifier: str) -> None:
    """POST `body`, signed; raises `WebhookUnavailable` or `WebhookRefused`.

    `identifier` is the same when the same is told again.
    """
    at = str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "X-Argonath-Id": identifier,
        "X-Argonath-Timestamp": at,
        "X-Argonath-Signature": f"sha256={signature(secret, at, body)}",
    }
    try:
        # A redirect is not followed: the signature is for this address. The answer is not read.
        with (
            httpx.Client(timeout=TIMEOUT_S, follow_redirects=False) as http,
            http.stream("POST", webhook.url, content=body, headers=headers) as answer,
        ):
            status = answer.status_code
    except httpx.HTTPError as error:
        raise WebhookUnavailable(f"{webhook.name}: {type(error).__name__}.") from None
    told = f"{webhook.name} answered HTTP {status}."
    if 300 <= status < 500 and status not in TRY_AGAIN:
        raise WebhookRefused(told)
    if not 200 <= status < 300:
        raise WebhookUnavailable(told)


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """HMAC-SHA256 (RFC 2104) over ``timestamp.body`` in hexadecimal."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _audit(session: Session, action: str, name: str, url: str, actor: str, origin: str) -> None:
    tenant = session.execute("SELECT current_tenant() AS id").fetchone()
    record = audit.Record(
        actor, action, f"webhook {name}", "allowed", tenant["id"] if tenant else None, origin, url
    )
    audit.append(session, record)
