"""A tenant's admins hear once of each thing that is stuck, and of the end of an outage."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import psycopg
import pytest

from extensions.routing import destinations, ledger, progress, runs, stuck, webhooks
from extensions.routing.progress import Outcome
from gateway import identity
from gateway.actions import Actions, Step, Subject
from gateway.archive import Archive, Reference
from gateway.context import TaskContext
from gateway.db import Database
from gateway.errors import Conflict
from gateway.identity import Role
from gateway.jobs import Postpone
from gateway.settings import Settings
from tests.integration.mailbox import Mailbox, mail_server, text_of
from tests.integration.routing.test_notify import Service
from tests.routing_rules import begin_run

STUDY = "1.2.826.0.1.3680043.8.498.7"


def told(box: Mailbox) -> list[tuple[str, str]]:
    """To whom, and what is stuck."""
    return [
        (str(message["To"]), line[2:])
        for message in box.messages
        for line in text_of(message).splitlines()
        if line.startswith("- ")
    ]


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with mail_server() as box:
        yield box


@pytest.fixture
def looking(database: Database, settings: Settings, mailbox: Mailbox) -> Iterator[TaskContext]:
    """North's view; an admin and a viewer belong to it, and the alert is set to 10 minutes."""
    with database.system_session("test") as session:
        for name, tenant, role in (
            ("admin", "north", Role.ADMIN), ("viewer", "north", Role.VIEWER),
            ("south", "south", Role.ADMIN),
        ):  # fmt: skip
            person = identity.create_person(session, f"{name}@example.org", "a good password")
            identity.add_member(session, person, tenant, role)
    with database.tenant_session("north") as session:
        stuck.set_alert(session, stuck.Alert(10), actor="test")
    settings = replace(settings, smtp_url=mailbox.url, mail_from="pacs@example.org")
    with Archive("http://127.0.0.1:9", "", "north") as archive:
        log = logging.getLogger("test")
        yield TaskContext("north", settings, database, archive, log, Actions([]))


def deliver(database: Database, to: str, study: str = STUDY) -> int:
    """A delivery of two instances that waits."""
    with database.tenant_session("north") as session:
        settings = {"host": "127.0.0.1", "port": 104, "called_aet": "PACS"}
        known = {each.name: each for each in destinations.list_destinations(session)}
        destination = known.get(to) or destinations.create_destination(
            session, name=to, kind="dimse", settings=settings, actor="test"
        )
        instances = tuple(Reference(f"{study}.{n}", f"{study}.0", "1.2") for n in (1, 2))
        return progress.plan(session, destination, Subject(study, instances, "A"))[0]


def pass_minutes(owner_url: str, minutes: int) -> None:
    with psycopg.connect(owner_url) as owner:
        owner.execute("ALTER TABLE delivery_instance DISABLE TRIGGER counted")
        for column in (
            "delivery.created_at",
            "delivery.updated_at",
            "delivery_instance.updated_at",
            "stuck_alert.looked_at",
        ):
            table, name = column.split(".")
            owner.execute(
                f"UPDATE {table} SET {name} = {name} - make_interval(mins => %s)".encode(),
                [minutes],
            )
        owner.execute("ALTER TABLE delivery_instance ENABLE TRIGGER counted")


def answer(database: Database, delivery: int, number: int, status: str) -> None:
    with database.tenant_session("north") as session:
        outcome = Outcome(f"{STUDY}.{number}", status == "0x0000", status != "0x0000", status)
        progress.record(session, delivery, outcome)


def look(context: TaskContext) -> None:
    with pytest.raises(Postpone):
        stuck.look(context, 1)


def test_what_waits_too_long_is_told_to_the_admins_once_per_outage(
    database: Database, owner_url: str, looking: TaskContext, mailbox: Mailbox
) -> None:
    first = deliver(database, "PACS")
    pass_minutes(owner_url, 9)
    look(looking)
    assert told(mailbox) == []
    pass_minutes(owner_url, 2)
    look(looking)
    look(looking)
    assert told(mailbox) == [("admin@example.org", "destination PACS: 1 waiting")]
    (message,) = mailbox.messages
    assert message["Subject"] == "Argonath, north: studies are stuck"
    assert "Tenant north" in text_of(message).splitlines()
    answer(database, first, 1, "0x0000")  # it goes on
    look(looking)
    pass_minutes(owner_url, 11)
    look(looking)
    assert len(told(mailbox)) == 2


def test_a_refusal_is_told_at_once_and_another_destination_anew(
    database: Database, owner_url: str, looking: TaskContext, mailbox: Mailbox
) -> None:
    answer(database, deliver(database, "PACS"), 1, "0xA900")
    look(looking)
    answer(database, deliver(database, "Archive"), 1, "0xC000")
    look(looking)
    look(looking)
    assert [what for _, what in told(mailbox)] == [
        "destination PACS: 1 failed (0xA900)",
        "destination Archive: 1 failed (0xC000)",
        "destination PACS: 1 failed (0xA900)",
    ]
    assert "Told before, and still so:\r\n- destination PACS" in text_of(mailbox.messages[1])


def test_a_failure_while_nobody_looked_is_told(
    database: Database, owner_url: str, looking: TaskContext, mailbox: Mailbox
) -> None:
    answer(database, deliver(database, "PACS"), 1, "0xA900")
    answer(database, deliver(database, "PACS"), 2, "0x0000")
    pass_minutes(owner_url, 600)
    look(looking)
    assert told(mailbox) == [("admin@example.org", "destination PACS: 1 failed (0xA900)")]


def hold(database: Database, delivery: int, why: str) -> None:
    with database.tenant_session("north") as session:
        progress.hold(session, ledger.get_delivery(session, delivery), why)


def outage(database: Database, error: str) -> None:
    with database.tenant_session("north") as session:
        place = destinations.named(session, "PACS").destination_id
        progress.unreachable(session, place, error=error, first_s=1)


def test_what_is_held_does_not_hide_that_its_destination_is_away(
    database: Database, owner_url: str, looking: TaskContext, mailbox: Mailbox
) -> None:
    hold(database, deliver(database, "PACS"), "No row for the study.")
    pass_minutes(owner_url, 11)
    look(looking)
    held = "destination PACS: 1 held for a person (No row for the study)"
    assert [what for _, what in told(mailbox)] == [held]
    deliver(database, "PACS", f"{STUDY}.8")
    outage(database, "It did not answer.")
    pass_minutes(owner_url, 11)
    look(looking)
    look(looking)
    away = "destination PACS: 1 waiting: it does not answer (It did not answer)"
    assert [what for _, what in told(mailbox)] == [held, away, held]


def test_the_end_of_an_outage_is_told_when_the_outage_was(
    database: Database, owner_url: str, looking: TaskContext, mailbox: Mailbox
) -> None:
    delivery = deliver(database, "PACS")
    outage(database, "away")
    look(looking)
    end_outage(database, delivery)
    look(looking)
    assert told(mailbox) == []
    outage(database, "away")
    pass_minutes(owner_url, 11)
    look(looking)
    end_outage(database, delivery)
    look(replace(looking, settings=replace(looking.settings, smtp_url="")))
    look(looking)
    look(looking)
    assert [what for _, what in told(mailbox)[1:]] == [
        "destination PACS answers again",
        "destination PACS: 1 waiting",  # told before, and still so: it has its turn later
    ]
    assert mailbox.messages[1]["Subject"] == "Argonath, north: a destination answers again"


def end_outage(database: Database, delivery: int) -> None:
    """It takes one instance, and is away no longer."""
    answer(database, delivery, 1, "0x0000")
    with database.tenant_session("north") as session:
        place = destinations.named(session, "PACS").destination_id
        progress.reached(session, place, delivery)


def test_what_a_destination_says_is_not_told_but_its_status(
    database: Database, owner_url: str, looking: TaskContext, mailbox: Mailbox
) -> None:
    deliver(database, "PACS")
    outage(database, "0xA700: No space for Doe^Jane.")
    pass_minutes(owner_url, 11)
    look(looking)
    ((_, what),) = told(mailbox)
    assert what == "destination PACS: 1 waiting: it does not answer (0xA700)"


def test_what_a_person_cancelled_is_not_told(
    database: Database, owner_url: str, looking: TaskContext, mailbox: Mailbox
) -> None:
    delivery = deliver(database, "PACS")
    answer(database, delivery, 1, "0xA900")
    with database.tenant_session("north") as session:
        ledger.cancel(session, delivery, actor="nora")
    look(looking)
    pass_minutes(owner_url, 11)
    look(looking)
    assert told(mailbox) == []


def test_the_alert_calls_its_webhook_which_cannot_be_deleted(
    database: Database, looking: TaskContext
) -> None:
    with closing(Service()) as service:
        with database.tenant_session("north") as session:
            key = looking.settings.encryption_key
            webhooks.put(session, "on call", service.url, encryption_key=key, actor="test")
            stuck.set_alert(session, stuck.Alert(10, "on call"), actor="test")
            (webhook,) = webhooks.list_webhooks(session)
            with pytest.raises(Conflict):
                webhooks.delete(session, webhook.webhook_id, actor="test")
        answer(database, deliver(database, "PACS"), 1, "0xA900")
        with pytest.raises(Postpone):
            stuck.look(replace(looking, settings=replace(looking.settings, smtp_url="")), 2)
    body = json.loads(service.got[0][1])
    assert (body["alert"], body["tenant"]) == ("stuck", "north")
    assert body["stuck"] == [
        {"what": "destination PACS", "how": "failed", "number": 1, "causes": ["0xA900"]}
    ]


def test_a_rule_that_gets_no_further_is_told_without_its_words(
    database: Database, owner_url: str, looking: TaskContext, mailbox: Mailbox
) -> None:
    with database.tenant_session("north") as session:
        run = begin_run(session, STUDY, "A", Step("notify", {"webhook": "RIS"}))
        runs.note(session, run, 0, "Doe^Jane is unknown.")
    look(looking)
    assert told(mailbox) == []
    with psycopg.connect(owner_url) as owner:
        owner.execute("UPDATE rule_run SET updated_at = now() - interval '11 minutes'")
    look(looking)
    look(looking)
    assert told(mailbox) == [("admin@example.org", "rule A: 1 waiting")]


def test_without_a_mail_server_nothing_counts_as_told(
    database: Database, looking: TaskContext, mailbox: Mailbox
) -> None:
    answer(database, deliver(database, "PACS"), 1, "0xA900")
    look(replace(looking, settings=replace(looking.settings, smtp_url="")))
    assert told(mailbox) == []
    look(looking)
    assert len(told(mailbox)) == 1


def test_an_alert_that_is_changed_ends_the_job_of_before(
    database: Database, looking: TaskContext
) -> None:
    with database.tenant_session("north") as session:
        stuck.set_alert(session, stuck.Alert(0), actor="test")
        waiting = session.execute("SELECT FROM job WHERE state = 'waiting'").fetchall()
    stuck.look(looking, 1)
    assert waiting == []
