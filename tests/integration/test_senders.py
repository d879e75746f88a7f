"""Who sent a study, on a real PostgreSQL."""

from __future__ import annotations

from importlib.resources import files

import psycopg
import pytest

from gateway import senders, studies
from gateway.arriving import NOBODY, Sender
from gateway.db import Database
from gateway.senders import Senders
from gateway.studies import Arrival

UID = "1.2.3"
CT1, MR1 = Sender("CT 1", "NORTH", "10.0.0.7"), Sender("MR 1", "NORTH 2", "10.0.0.8")


def claim(database: Database, sender: Sender) -> bool:
    """Whether the study's row names this sender."""
    with database.system_session("test") as session:
        return studies.claim(session, "north", Arrival(UID, sender=sender)).sent_first


def known(database: Database, tenant: str = "north") -> Senders:
    with database.tenant_session(tenant) as session:
        return senders.of_study(session, UID)


def test_a_study_keeps_who_sent_it_first_and_of_each_series_who_else_began_it(
    database: Database,
) -> None:
    assert claim(database, CT1)
    assert not claim(database, MR1)
    with database.system_session("test") as session:
        assert senders.sent_first(session, UID, CT1)
        assert not senders.sent_first(session, UID, MR1)
        senders.begins_series(session, UID, "1.2.3.2", MR1)
    sent = known(database)
    assert (sent.of("1.2.3.1"), sent.of("1.2.3.2")) == (CT1, MR1)
    assert known(database, "south") == Senders()


def test_a_series_that_begins_again_is_of_who_sends_it_now(database: Database) -> None:
    claim(database, CT1)
    with database.system_session("test") as session:
        for sender in (MR1, NOBODY):
            senders.begins_series(session, UID, "1.2.3.2", sender)
    assert known(database).of("1.2.3.2") == NOBODY


def test_of_a_study_that_was_deleted_and_comes_again_nothing_old_is_known(
    database: Database,
) -> None:
    claim(database, CT1)
    with database.system_session("test") as session:
        senders.begins_series(session, UID, "1.2.3.2", MR1)
        studies.forget(session, studies.orthanc_id("", UID))
    claim(database, NOBODY)
    assert known(database) == Senders()


@pytest.mark.parametrize(
    ("source", "sender"),
    [
        ("C-STORE CT1 10.0.0.7", Sender("CT1", "", "10.0.0.7")),
        ("C-STORE CT ROOM 1 10.0.0.7", Sender("CT ROOM 1", "", "10.0.0.7")),
        ("C-STORE CT ROOM 1 10.0.0.7 by TLS", Sender("CT ROOM 1", "", "10.0.0.7")),
        ("STOW-RS OHIF in radiology 2001:db8::7", Sender(address="2001:db8::7")),
        ("STOW-RS nobody knows where ", NOBODY),
        ("job ModifiedFrom", NOBODY),
        ("an arriving study", NOBODY),
        ("", NOBODY),
    ],
)
def test_of_a_study_from_before_there_is_what_its_text_tells(
    database: Database, owner_url: str, source: str, sender: Sender
) -> None:
    with database.system_session("test") as session:
        studies.claim(session, "north", Arrival(UID, source=source))
    script = files("gateway").joinpath("schema/0012_senders.sql").read_text()
    (update,) = [part for part in script.split(";") if "UPDATE study" in part]
    with psycopg.connect(owner_url) as owner:
        owner.execute(update.encode())
    assert known(database).study == sender
