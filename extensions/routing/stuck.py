"""The alert: a tenant's admins are told by e-mail when something is stuck, once per outage.

What is stuck is named by its destination or rule. It is told once, and again only after it was
over. One job of the tenant looks each minute, and never ends until the alert is changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from extensions.routing.progress import STUDY_DELETED
from gateway import audit, jobs, mail, people
from gateway.context import TaskContext
from gateway.db import Row, Session
from gateway.errors import GatewayError, InvalidInput
from gateway.identity import Role
from gateway.jobs import Postpone

LOOK_S = 60.0
LONGEST_MIN = 10080
# What was failed by a person is not stuck.
_CANCELLED = "Cancelled by %"

_TROUBLE = """
    SELECT 'destination ' || d.destination_name AS what,
           count(DISTINCT d.delivery_id) FILTER (WHERE i.state = 'failed') AS failed,
           count(DISTINCT d.delivery_id) FILTER (WHERE i.state <> 'failed') AS waiting
    FROM delivery d JOIN delivery_instance i USING (delivery_id)
    -- The time of an instance is also that of its last try, so an error counts by itself.
    WHERE (d.state IN ('waiting', 'sending', 'held') AND d.created_at < %(old)s
           AND i.state IN ('planned', 'sending')
           AND (i.updated_at < %(old)s OR d.last_error IS NOT NULL)
           AND NOT EXISTS (SELECT FROM delivery_instance r WHERE r.delivery_id = d.delivery_id
                           AND r.state NOT IN ('planned', 'sending', 'failed')
                           AND r.updated_at >= %(old)s))
       OR (d.failed > 0 AND d.updated_at > %(recent)s
           AND i.state = 'failed' AND i.updated_at > %(recent)s
           AND i.cause <> %(deleted)s AND i.cause NOT LIKE %(cancelled)s)
    GROUP BY 1
    UNION ALL
    SELECT 'rule ' || rule_name, count(*) FILTER (WHERE state = 'failed'),
           count(*) FILTER (WHERE state = 'held')
    FROM rule_run WHERE (state = 'held' AND updated_at < %(old)s)
                     OR (state = 'failed' AND updated_at > %(recent)s)
    GROUP BY 1
    ORDER BY 1
"""


def after_minutes(session: Session) -> int:
    """When the tenant's admins are told; 0: never."""
    row = session.execute("SELECT after_minutes FROM stuck_alert").fetchone()
    return int(row["after_minutes"]) if row else 0


def set_alert(session: Session, minutes: int, *, actor: str, origin: str = "") -> None:
    """Tell the tenant's admins of what waits for longer, or has failed; 0: no more."""
    if not 0 <= minutes <= LONGEST_MIN:
        raise InvalidInput(f"minutes: 0 (never) to {LONGEST_MIN}.")
    tenant = session.execute("SELECT current_tenant() AS id").fetchone()
    assert tenant is not None
    row = session.execute(
        "INSERT INTO stuck_alert AS a (tenant_id, after_minutes) VALUES (%s, %s) "
        "ON CONFLICT (tenant_id) DO UPDATE SET after_minutes = excluded.after_minutes, "
        "run = a.run + 1, looked_at = now(), told = '{}' RETURNING run",
        [tenant["id"], minutes],
    ).fetchone()
    assert row is not None
    jobs.call_off(session, extension="routing", task="look_for_stuck", arguments={})
    if minutes:
        jobs.enqueue(
            session,
            tenant_id=tenant["id"],
            extension="routing",
            task="look_for_stuck",
            arguments={"run": row["run"]},
            max_attempts=1000,
        )
    told = f"after {minutes} min" if minutes else "off"
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
        trouble = _trouble(session, alert)
        admins = [
            member.email
            for member in people.members(session)
            if member.role in {Role.ADMIN, Role.OWNER} and not member.disabled
        ]
    known = set(alert["told"])
    if trouble.keys() - known and _tell(context, admins, trouble):
        known = set(trouble)
    with context.database.tenant_session(context.tenant_id) as session:
        session.execute(
            "UPDATE stuck_alert SET told = %s, looked_at = %s WHERE run = %s",
            [sorted(known & trouble.keys()), alert["now"], run],
        )
    raise Postpone(LOOK_S, "It looks again.")


def _trouble(session: Session, alert: Row) -> Mapping[str, str]:
    """What is stuck, and how, in words.

    A failure is fresh for as long as it may have been missed, but at least for the alert's time.
    """
    row = session.execute(
        "SELECT now() - make_interval(mins => %(minutes)s) AS old, "
        "least(now() - make_interval(mins => %(minutes)s), "
        "%(looked_at)s - interval '1 minute') AS recent",
        {"minutes": alert["after_minutes"], "looked_at": alert["looked_at"]},
    ).fetchone()
    assert row is not None
    found = session.execute(_TROUBLE, row | {"deleted": STUDY_DELETED, "cancelled": _CANCELLED})
    return {
        each["what"]: ", ".join(f"{each[how]} {how}" for how in ("failed", "waiting") if each[how])
        for each in found
    }


def _tell(context: TaskContext, admins: Sequence[str], trouble: Mapping[str, str]) -> bool:
    """Mail the admins; False: not one of them could be told, so it is tried at the next look."""
    lines = [f"- {what}: {how}" for what, how in trouble.items()]
    text = (
        "Studies are stuck:\n\n" + "\n".join(lines) + "\n\n"
        f"{context.settings.url}/routing/deliveries\n\n"
        "You are told once; again when something else is stuck, or this one after it was over.\n"
    )
    told = 0
    for address in admins if mail.is_set_up(context.settings) else ():
        try:
            mail.send(context.settings, address, "Argonath: studies are stuck", text)
            told += 1
        except GatewayError as error:
            context.log.warning("alert not sent", extra={"error": error.code})
    return told > 0
