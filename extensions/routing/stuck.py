"""The alert: a tenant's admins are told when something is stuck, by e-mail and by a webhook.

Each cause of each destination or rule is told once, and again only after it was over; of an outage
that was told its end is, too. One job of the tenant looks each minute, and never ends until the
alert is changed.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from extensions.routing import trouble, webhooks
from extensions.routing.trouble import Trouble
from gateway import audit, jobs, mail, people, vault
from gateway.context import TaskContext
from gateway.db import Row, Session
from gateway.errors import GatewayError, InvalidInput
from gateway.identity import Role
from gateway.jobs import Postpone

LOOK_S = 60.0
LONGEST_MIN = 10080


@dataclass(frozen=True)
class Alert:
    """After how many minutes admins are told, 0: never; and the name of a webhook, if any."""

    after_minutes: int = 0
    webhook: str = ""


@dataclass(frozen=True)
class News:
    """What is told at once: what is newly stuck, what was told before, who answers again."""

    new: Sequence[Trouble]
    still: Sequence[Trouble]
    over: Sequence[str]

    def __str__(self) -> str:
        """In words, in paragraphs."""
        return "\n\n".join(self._paragraphs())

    def _paragraphs(self) -> Iterator[str]:
        for title, lines in (
            ("Stuck:", self.new),
            ("Over:", [f"{what} answers again" for what in self.over]),
            ("Told before, and still so:", self.still),
        ):
            if lines:
                yield "\n".join([title, *(f"- {line}" for line in lines)])

    def as_json(self) -> dict[str, Any]:
        """As a webhook is told."""
        return {
            "stuck": [_as_json(each) for each in self.new],
            "still": [_as_json(each) for each in self.still],
            "over": list(self.over),
        }


def alert_of(session: Session) -> Alert:
    """The tenant's alert."""
    row = session.execute("SELECT after_minutes, webhook FROM stuck_alert").fetchone()
    return Alert(**row) if row else Alert()


def set_alert(session: Session, alert: Alert, *, actor: str, origin: str = "") -> None:
    """Tell the tenant's admins of what waits for longer, or has failed; after 0 minutes: no more.

    Raises `InvalidInput`.
    """
    if not 0 <= alert.after_minutes <= LONGEST_MIN:
        raise InvalidInput(f"minutes: 0 (never) to {LONGEST_MIN}.")
    if alert.webhook not in {"", *(each.name for each in webhooks.list_webhooks(session))}:
        raise InvalidInput(f"webhook: there is no {alert.webhook!r}; choose one of the list.")
    tenant = session.execute("SELECT current_tenant() AS id").fetchone()
    assert tenant is not None
    row = session.execute(
        "INSERT INTO stuck_alert AS a (tenant_id, after_minutes, webhook) VALUES (%s, %s, %s) "
        "ON CONFLICT (tenant_id) DO UPDATE SET after_minutes = excluded.after_minutes, "
        "webhook = excluded.webhook, run = a.run + 1, looked_at = now(), told = '{}' RETURNING run",
        [tenant["id"], alert.after_minutes, alert.webhook],
    ).fetchone()
    assert row is not None
    jobs.call_off(session, extension="routing", task="look_for_stuck", arguments={})
    if alert.after_minutes:
        jobs.enqueue(
            session,
            tenant_id=tenant["id"],
            extension="routing",
            task="look_for_stuck",
            arguments={"run": row["run"]},
            max_attempts=1000,
        )
    told = f"after {alert.after_minutes} min" if alert.after_minutes else "off"
    told += f", webhook {alert.webhook}" if alert.webhook else ""
    record = audit.Record(
        actor, "change-stuck-alert", "alert", "allowed", tenant["id"], origin, told
    )
    audit.append(session, record)


def look(context: TaskContext, run: int) -> None:
    """Tell what is newly stuck; always raises `Postpone` while this run is the alert's."""
    with context.database.tenant_session(context.tenant_id) as session:
        alert = session.execute(
            "SELECT *, now() AS now FROM stuck_alert WHERE run = %s AND after_minutes > 0", [run]
        ).fetchone()
        if alert is None:
            return
        found = _find(session, alert)
        out, back = trouble.outages(session)
    keys, known = {each.key for each in found}, set(alert["told"])
    over = {key: trouble.what_of(key) for key in sorted(known & back - keys)}
    # What waited for the destination waits on for its turn: that is no news.
    known |= {trouble.key_of(what, "waiting") for what in over.values()}
    news = News(
        [each for each in found if each.key not in known],
        [each for each in found if each.key in known],
        list(over.values()),
    )
    told = known & (keys | out)
    if news.new or news.over:
        told |= keys if _tell(context, alert["webhook"], news) else over.keys()
    with context.database.tenant_session(context.tenant_id) as session:
        session.execute(
            "UPDATE stuck_alert SET told = %s, looked_at = %s WHERE run = %s",
            [sorted(told), alert["now"], run],
        )
    raise Postpone(LOOK_S, "It looks again.")


def _find(session: Session, alert: Row) -> list[Trouble]:
    """A failure is fresh for as long as it may have been missed, but at least the alert's time."""
    row = session.execute(
        "SELECT now() - make_interval(mins => %(minutes)s) AS old, "
        "least(now() - make_interval(mins => %(minutes)s), "
        "%(looked_at)s - interval '1 minute') AS recent",
        {"minutes": alert["after_minutes"], "looked_at": alert["looked_at"]},
    ).fetchone()
    assert row is not None
    return trouble.find(session, row["old"], row["recent"])


def _tell(context: TaskContext, webhook: str, news: News) -> bool:
    """False: nobody could be told, so it is tried at the next look."""
    told = False
    with context.database.tenant_session(context.tenant_id) as session:
        admins = [
            member.email
            for member in people.members(session)
            if member.role in {Role.ADMIN, Role.OWNER} and not member.disabled
        ]
    for address in admins if mail.is_set_up(context.settings) else ():
        try:
            _mail(context, address, news)
            told = True
        except GatewayError as error:
            context.log.warning("alert not sent", extra={"error": error.code})
    try:
        if webhook:
            _call(context, webhook, news)
            told = True
    except GatewayError as error:
        context.log.warning("alert not sent to its webhook", extra={"error": error.code})
    return told


def _mail(context: TaskContext, address: str, news: News) -> None:
    what = "studies are stuck" if news.new else "a destination answers again"
    text = (
        f"Tenant {context.tenant_id}\n\n{news}\n\n"
        f"{context.settings.url}/routing/deliveries\n"
        f"{context.settings.url}/routing/rules/attention\n\n"
        "You are told of each once, and again only after it was over.\n"
    )
    mail.send(context.settings, address, f"Argonath, {context.tenant_id}: {what}", text)


def _call(context: TaskContext, name: str, news: News) -> None:
    with context.database.tenant_session(context.tenant_id) as session:
        webhook = webhooks.named(session, name)
    told = {
        "alert": "stuck" if news.new else "over",
        "tenant": context.tenant_id,
        **news.as_json(),
        "url": f"{context.settings.url}/routing/deliveries",
        "id": str(uuid.uuid4()),
    }
    secret = vault.unseal(context.settings.encryption_key, webhook.secret)
    webhooks.call(webhook, secret, json.dumps(told).encode(), str(told["id"]))


def _as_json(each: Trouble) -> dict[str, Any]:
    return {"what": each.what, "how": each.kind, "number": each.number, "causes": each.causes}
