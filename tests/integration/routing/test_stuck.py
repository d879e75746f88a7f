"""A tenant's admins hear once of what is stuck."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest

from extensions.routing import destinations, progress, stuck
from extensions.routing.progress import Outcome
from gateway import identity
from gateway.actions import Actions, Reference, Subject
from gateway.archive import Archive
from gateway.context import TaskContext
from gateway.db import Database
from gateway.identity import Role
from gateway.jobs import Postpone
from gateway.settings import Settings
from tests.integration.mailbox import Mailbox, mail_server, text_of

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
        stuck.set_alert(session, 10, actor="test")
    settings = replace(settings, smtp_url=mailbox.url, mail_from="pacs@example.org")
    with Archive("http://127.0.0.1:9", "", "north") as archive:
        log = logging.getLogger("test")
        yield TaskContext("north", settings, database, archive, log, Actions([]))


def deliver(database: Database, to: str) -> int:
    """A delivery of two instances that waits."""
    with database.tenant_session("north") as session:
        settings = {"host": "127.0.0.1", "port": 104, "called_aet": "PACS"}
        known = {each.name: each for each in destinations.list_destinations(session)}
        destination = known.get(to) or destinations.create_destination(
            session, name=to, kind="dimse", settings=settings, actor="test"
        )
        instances = tuple(Reference(f"{STUDY}.{n}", f"{STUDY}.0", "1.2") for n in (1, 2))
        return progress.plan(session, destination, Subject(STUDY, instances, "A"))[0]


def pass_minutes(owner_url: str, minutes: int) -> None:
    with psycopg.connect(owner_url) as owner:
        for column in (
            "delivery.created_at",
            "delivery_instance.updated_at",
            "stuck_alert.looked_at",
        ):
            table, name = column.split(".")
            owner.execute(
                f"UPDATE {table} SET {name} = {name} - make_interval(mins => %s)".encode(),
                [minutes],
            )


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
        "destination PACS: 1 failed",
        "destination Archive: 1 failed",
        "destination PACS: 1 failed",
    ]


def test_a_failure_while_nobody_looked_is_told(
    database: Database, owner_url: str, looking: TaskContext, mailbox: Mailbox
) -> None:
    answer(database, deliver(database, "PACS"), 1, "0xA900")
    answer(database, deliver(database, "PACS"), 2, "0x0000")
    pass_minutes(owner_url, 600)
    look(looking)
    assert told(mailbox) == [("admin@example.org", "destination PACS: 1 failed")]


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
        stuck.set_alert(session, 0, actor="test")
        waiting = session.execute("SELECT FROM job WHERE state = 'waiting'").fetchall()
    stuck.look(looking, 1)
    assert waiting == []
