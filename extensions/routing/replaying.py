"""Sending a study to a destination once more, because a person asks for it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from extensions.routing import destinations, ledger, progress, rulebook
from extensions.routing.rules.rule import RuleDocument
from extensions.routing.sending import line
from gateway import audit, jobs
from gateway.actions import Subject
from gateway.context import TaskContext
from gateway.db import Session
from gateway.errors import Conflict, NotFound


def request(
    session: Session,
    study_uid: str,
    destination_id: int,
    *,
    transforms: Collection[str],
    actor: str,
    origin: str = "",
) -> None:
    """Have it done; raises `NotFound` for a destination that is not the tenant's.

    Raises `Conflict` where it would go as it was received, but rules change (by an action of
    `transforms`) whatever they send there: they may take names out.
    """
    destination = destinations.get_destination(session, destination_id)
    if not _sent_before(session, study_uid, destination_id):
        _require_plain(rulebook.live(session).rules, destination.name, transforms)
    row = session.execute("SELECT current_tenant() AS id").fetchone()
    assert row is not None
    jobs.enqueue(
        session,
        tenant_id=row["id"],
        extension="routing",
        task="replay",
        arguments={"study_uid": study_uid, "destination_id": destination_id, "actor": actor},
        study_uid=study_uid,
    )
    record = audit.Record(
        actor,
        "replay-study",
        f"study {study_uid}",
        "allowed",
        row["id"],
        origin,
        f"to {destination.name}",
    )
    audit.append(session, record)


def run(context: TaskContext, study_uid: str, destination_id: int, actor: str) -> None:
    """Plan all of the study again, as rules have sent it there; else as it was received."""
    try:
        held = tuple(context.archive.references_of(study_uid))
    except NotFound:
        return  # deleted meanwhile
    with context.database.tenant_session(context.tenant_id) as session:
        try:
            destination = destinations.get_destination(session, destination_id)
        except NotFound:
            return
        line.lock(session, destination_id)
        before = _sent_before(session, study_uid, destination_id)
        if not before:
            # A copy that a rule changes may be so for a reason: only without one is it plain.
            progress.plan(session, destination, Subject(study_uid, held, f"replayed by {actor}"))
        for delivery_id in before:
            _again(session, delivery_id)
        line.call_next(session, destination_id)


def _sent_before(session: Session, study_uid: str, destination_id: int) -> list[int]:
    rows = session.execute(
        "SELECT delivery_id FROM delivery WHERE study_instance_uid = %s AND destination_id = %s",
        [study_uid, destination_id],
    )
    return [row["delivery_id"] for row in rows]


def _require_plain(
    rules: Sequence[RuleDocument], destination: str, transforms: Collection[str]
) -> None:
    changing: list[str] = []
    for rule in rules:
        changed = False
        for step in rule.actions:
            changed = changed or step.action in transforms
            if step.action == "forward" and step.settings["to"] == destination:
                if not changed:
                    return
                changing.append(rule.name)
    if changing:
        raise Conflict(
            f"To {destination} rules send changed copies alone ({', '.join(changing)}), and none "
            "has sent this study there: apply such a rule to it, so that it is not sent as it is."
        )


def _again(session: Session, delivery_id: int) -> None:
    ledger.lock(session, delivery_id)
    session.execute(
        "UPDATE delivery_instance SET state = 'planned', cause = '', attempts = 0, "
        "verified_at = NULL, updated_at = now() WHERE delivery_id = %s AND state <> 'sending'",
        [delivery_id],
    )
    session.execute(
        "UPDATE delivery SET held = '', checks = 0, due_at = now() WHERE delivery_id = %s",
        [delivery_id],
    )
    line.join(session, delivery_id)
