"""Sources in PostgreSQL: who sees them, whose turn it is, and what is remembered."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

from extensions.polling import inbox, leases, memory
from extensions.polling.leases import Ended
from extensions.polling.news import Known
from extensions.polling.poller import Poller
from extensions.polling.sources import (
    Source,
    create_source,
    delete_source,
    get_source,
    hurry_source,
    list_sources,
    open_settings,
    switch_source,
    update_source,
)
from gateway.context import ServiceContext
from gateway.db import Database
from gateway.errors import Conflict, InvalidInput, NotFound
from gateway.settings import Settings

WEB = {"url": "http://127.0.0.1:9/dicom-web"}
BOB = {"actor": "bob@example.org"}


@pytest.fixture
def add(database: Database) -> Callable[..., Source]:
    """Adds a source of a tenant."""

    def add_one(
        name: str = "Archive", tenant: str = "north", kind: str = "dicomweb", **settings: Any
    ) -> Source:
        given = (WEB if kind == "dicomweb" else {}) | settings
        with database.tenant_session(tenant) as session:
            return create_source(
                session, name=name, kind=kind, settings=given, encryption_key="key", **BOB
            )

    return add_one


def audited(database: Database, tenant: str = "north") -> list[str]:
    with database.tenant_session(tenant) as session:
        rows = session.execute("SELECT action FROM audit WHERE actor = %s ORDER BY audit_id",
                               [BOB["actor"]])  # fmt: skip
        return [row["action"] for row in rows]


def claim(database: Database, source: Source, holder: str = "one") -> Source | None:
    with database.system_session("test") as session:
        return leases.claim(session, source.source_id, holder)


def test_another_tenant_neither_sees_nor_changes_a_source(
    database: Database, add: Callable[..., Source]
) -> None:
    source = add()
    with database.tenant_session("south") as south:
        assert list_sources(south) == []
        for change in (
            lambda: get_source(south, source.source_id),
            lambda: delete_source(south, source.source_id, **BOB),
            lambda: hurry_source(south, source.source_id, **BOB),
            lambda: switch_source(south, source.source_id, enabled=False, **BOB),
        ):
            with pytest.raises(NotFound):
                change()
        memory.remember(south, source.source_id, "1.2.3", 4, brought=True)
        assert memory.known(south, source.source_id, ["1.2.3"]) == {}
    with database.tenant_session("north") as north:
        assert get_source(north, source.source_id).enabled
        assert memory.known(north, source.source_id, ["1.2.3"]) == {}


def test_every_change_is_audited(database: Database, add: Callable[..., Source]) -> None:
    source = add()
    with database.tenant_session("north") as session:
        number = source.source_id
        update_source(session, number, name="A", kind="dicomweb", settings=WEB, enabled=True, **BOB)
        switch_source(session, number, enabled=False, **BOB)
        switch_source(session, number, enabled=True, **BOB)
        hurry_source(session, number, **BOB)
        delete_source(session, number, **BOB)
    assert audited(database) == [
        "create-source", "change-source", "pause-source", "resume-source", "run-source",
        "delete-source",
    ]  # fmt: skip


def test_a_secret_is_sealed_and_kept_only_while_the_address_stays(
    database: Database, add: Callable[..., Source]
) -> None:
    source = add(token="s3cret")
    with database.tenant_session("north") as session:
        row = session.execute("SELECT settings::text AS s FROM polling_source").fetchone()
        assert row is not None
        assert "s3cret" not in row["s"]
        given = {"name": "A", "kind": "dicomweb", "enabled": True, "encryption_key": "key", **BOB}
        same = update_source(session, source.source_id, settings=WEB, **given)
        assert open_settings(same, "key").token == "s3cret"  # type: ignore[union-attr]
        moved = update_source(session, source.source_id, settings={"url": "http://x"}, **given)
        assert open_settings(moved, "key").token == ""  # type: ignore[union-attr]


def test_a_dicom_source_can_deliver_to_its_own_tenant_alone(add: Callable[..., Source]) -> None:
    place = {"host": "pacs", "called_aet": "PACS"}
    with pytest.raises(InvalidInput, match="deliver_to"):
        add(kind="dimse", deliver_to="SOUTH", **place)
    assert add(kind="dimse", deliver_to="NORTH", **place).address == "PACS@pacs:104"


def test_a_tenant_has_one_folder_and_a_name_stands_for_one_source(
    add: Callable[..., Source],
) -> None:
    add("Inbox", kind="folder")
    assert add("Inbox", "south", kind="folder").address == "inbox/south"
    with pytest.raises(Conflict, match="there is one"):
        add("Second", kind="folder")
    with pytest.raises(Conflict, match="named 'Inbox'"):
        add("Inbox")


def test_one_process_runs_a_source_and_another_takes_over_when_its_lease_ends(
    database: Database, add: Callable[..., Source]
) -> None:
    source = add()
    assert claim(database, source, "one") is not None
    assert claim(database, source, "two") is None
    with database.system_session("test") as session:
        assert leases.due(session) == []
        session.execute("UPDATE polling_source SET lease_until = now() - interval '1 s'")
    taken = claim(database, source, "two")
    assert taken is not None
    with database.system_session("test") as session:
        leases.finish(session, taken, "one", Ended("by the lost one", 60))
        leases.finish(session, taken, "two", Ended("1 studies", 60))
        assert leases.due(session) == []
    with database.tenant_session("north") as session:
        ran = get_source(session, source.source_id)
    assert (ran.last_told, ran.is_running) == ("1 studies", False)


def test_pausing_changing_or_deleting_a_source_takes_it_away_from_who_runs_it(
    database: Database, add: Callable[..., Source]
) -> None:
    for change in ("pause", "change", "delete"):
        source = add(change)
        assert claim(database, source) is not None
        with database.system_session("test") as session:
            assert leases.renew(session, "one") == {source.source_id}
        with database.tenant_session("north") as session:
            if change == "pause":
                switch_source(session, source.source_id, enabled=False, **BOB)
            elif change == "change":
                update_source(session, source.source_id, name="C", kind="dicomweb", settings=WEB,
                              enabled=True, **BOB)  # fmt: skip
            else:
                delete_source(session, source.source_id, **BOB)
        with database.system_session("test") as session:
            assert leases.renew(session, "one") == set()


def test_a_failed_run_is_told_and_a_good_one_forgets_it(
    database: Database, add: Callable[..., Source]
) -> None:
    source = add()
    for error, failures in ((None, 0), ("It hangs.", 1), ("It hangs.", 2), (None, 0)):
        with database.system_session("test") as session:
            session.execute("UPDATE polling_source SET next_run_at = now()")
        claimed = claim(database, source)
        assert claimed is not None
        with database.system_session("test") as session:
            leases.finish(session, claimed, "one", Ended("told", 60, error))
        with database.tenant_session("north") as session:
            ran = get_source(session, source.source_id)
        assert (ran.last_error, ran.failures) == (error, failures)


def test_who_asks_for_a_run_while_one_ends_gets_another(
    database: Database, add: Callable[..., Source]
) -> None:
    source = add()
    first = claim(database, source)
    assert first is not None
    with database.tenant_session("north") as session:
        hurry_source(session, source.source_id, **BOB)
    with database.system_session("test") as session:
        leases.finish(session, first, "one", Ended("", 3600))
    second = claim(database, source)
    assert second is not None
    assert second.hurried
    with database.system_session("test") as session:
        leases.finish(session, second, "one", Ended("", 3600))
    assert claim(database, source) is None


def test_a_tenant_that_switched_polling_off_is_not_polled(
    database: Database, add: Callable[..., Source]
) -> None:
    source, other = add(), add(tenant="south")
    with database.tenant_session("north") as session:
        session.execute(
            "INSERT INTO extension_setting (tenant_id, extension, enabled) "
            "VALUES ('north', 'polling', false)"
        )
    with database.system_session("test") as session:
        assert [due.source_id for due in leases.due(session)] == [other.source_id]
        assert leases.claim(session, source.source_id, "one") is None


def test_what_was_retrieved_failed_and_came_after_all_is_remembered(
    database: Database, add: Callable[..., Source]
) -> None:
    number = add().source_id
    with database.tenant_session("north") as session:
        memory.remember(session, number, "1.1", 3, brought=True)
        memory.fail(session, number, "1.2", 5, "No.", failures=1, permanent=False)
        memory.fail(session, number, "1.3", 5, "Never.", failures=1, permanent=True)
        known = memory.known(session, number, ["1.1", "1.2", "1.3", "1.4"])
        assert known["1.1"] == Known(3)
        assert known["1.2"].next_try_at is not None
        assert known["1.3"] == Known(5, 1, None)
        assert "1.4" not in known
        assert memory.counts(session) == {number: (1, 2)}
        memory.remember(session, number, "1.2", 6, brought=True)
        assert memory.known(session, number, ["1.2"]) == {"1.2": Known(6)}
        assert [failed.last_error for failed in memory.failed(session, number)] == ["Never."]


def test_another_address_is_another_source_of_which_nothing_is_remembered(
    database: Database, add: Callable[..., Source]
) -> None:
    number = add().source_id
    given = {"name": "A", "kind": "dicomweb", "enabled": True, **BOB}
    with database.tenant_session("north") as session:
        memory.remember(session, number, "1.1", 3, brought=True)
        update_source(session, number, settings=WEB | {"interval_s": 60}, **given)
        assert memory.known(session, number, ["1.1"])
        update_source(session, number, settings={"url": "http://elsewhere"}, **given)
        assert memory.known(session, number, ["1.1"]) == {}


def test_a_dicom_source_whose_ae_title_went_to_another_tenant_is_not_asked(
    database: Database, settings: Settings, add: Callable[..., Source]
) -> None:
    add(kind="dimse", host="127.0.0.1", port=9, called_aet="X", deliver_to="NORTH")
    with database.system_session("test") as session:
        session.execute("UPDATE called_ae_title SET tenant_id = 'south' WHERE ae_title = 'NORTH'")
        session.execute("UPDATE polling_source SET next_run_at = now()")
    poller = Poller(ServiceContext(settings, database, logging.getLogger("test")))
    error = _run(poller, database)
    assert "deliver_to" in error


def test_a_folder_with_a_file_that_cannot_be_read_says_so_and_takes_the_others(
    database: Database, settings: Settings, add: Callable[..., Source]
) -> None:
    add("Inbox", kind="folder")
    folder = inbox.folder_of(settings.data, "north")
    for name in ("a.txt", "b.txt"):
        (folder / name).write_text("no DICOM")
    (folder / "a.txt").chmod(0)
    time.sleep(2.1)
    error = _run(Poller(ServiceContext(settings, database, logging.getLogger("test"))), database)
    assert error.startswith("1 file cannot be read")
    assert (folder / "rejected" / "b.txt.error.json").exists()
    assert (folder / "a.txt").exists()


def _run(poller: Poller, database: Database) -> str:
    """Let north's one source run; what went wrong."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        poller.step()
        with database.tenant_session("north") as session:
            (source,) = list_sources(session)
        if source.last_error:
            return source.last_error
        time.sleep(0.1)
    raise AssertionError("It did not run.")
