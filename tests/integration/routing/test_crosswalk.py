"""Tags are set by tables in PostgreSQL, whose rows come from people, from CSV and over HTTP."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from pydicom import Dataset, dcmread

from extensions.routing.changes import crosswalk, crosswalk_tables
from extensions.routing.changes.crosswalk_http import CrosswalkUnavailable
from extensions.routing.changes.crosswalk_settings import Crosswalk
from extensions.routing.changes.crosswalk_sync import sync_crosswalk
from extensions.routing.changes.crosswalk_tables import By, Table
from extensions.routing.changes.morph import CannotMorph
from extensions.routing.changes.original_attributes import revert
from gateway import studies
from gateway.actions import Actions, NeedsPerson
from gateway.archive import Archive
from gateway.context import TaskContext
from gateway.db import Database
from gateway.errors import Conflict, GatewayError, InvalidInput, NotFound
from gateway.settings import Settings
from tests.integration.routing.conftest import STUDY, FakeArchive, make_file
from tests.integration.routing.table_service import TableService
from tests.integration.worker_host import WorkerHost, until

BY = By("admin@north")
SETTINGS = Crosswalk.model_validate(
    {"table": "accession", "look_up": "AccessionNumber", "sets": {"new": "AccessionNumber"}}
)
MISS = "SECRET-KEY"


@pytest.fixture
def service() -> Iterator[TableService]:
    service = TableService()
    yield service
    service.close()


@pytest.fixture
def context(settings: Settings, database: Database, archive: FakeArchive) -> Iterator[TaskContext]:
    """North's, with an archive that holds one instance with accession number A1."""
    archive.add(make_file(1, AccessionNumber="A1"))
    with closing(Archive(archive.url, "internal", "north")) as north:
        log = logging.getLogger("test")
        yield TaskContext("north", settings, database, north, log, Actions(()))


def create(
    context: TaskContext, kind: str = "table", name: str = "accession", **given: Any
) -> Table:
    with context.database.tenant_session(context.tenant_id) as session:
        return crosswalk_tables.create_table(
            session, name=name, kind=kind, settings=given, encryption_key="key", by=BY
        )


def import_rows(context: TaskContext, rows: dict[str, dict[str, str]]) -> int:
    with context.database.tenant_session(context.tenant_id) as session:
        return crosswalk_tables.import_rows(session, "accession", rows, by=BY)


def table(context: TaskContext) -> Table:
    with context.database.tenant_session(context.tenant_id) as session:
        return crosswalk_tables.get_table(session, "accession")


def sent(context: TaskContext, settings: Crosswalk = SETTINGS, number: int = 1) -> Dataset:
    """What leaves of an instance of the study."""
    change = crosswalk.prepare(context, settings, STUDY)
    it = context.archive.references_of(STUDY)[number - 1]
    file = context.archive.file_of(STUDY, it.series_instance_uid, it.sop_instance_uid)
    return change(dcmread(BytesIO(file)))


def sync(context: TaskContext) -> None:
    """Run the job that is planned next."""
    sync_crosswalk(context, "accession", table(context).sync_run)


def planned(database: Database) -> list[tuple[int, float]]:
    """The runs that are planned, and how many seconds after they were."""
    with database.tenant_session("north") as session:
        rows = session.execute(
            "SELECT (arguments->>'run')::int AS run, "
            "extract(epoch FROM run_at - created_at)::float AS s FROM job "
            "WHERE task = 'sync_crosswalk' ORDER BY job_id"
        )
        return [(row["run"], row["s"]) for row in rows]


def test_a_tag_is_set_by_its_row_and_the_note_names_the_version(context: TaskContext) -> None:
    create(context)
    import_rows(context, {"A1": {"new": "OLD"}})
    assert import_rows(context, {"A1": {"new": "N1"}, "A2": {"new": "N2"}}) == 2
    dataset = sent(context)
    assert dataset.AccessionNumber == "N1"
    note = dataset.OriginalAttributesSequence[0]
    assert note.ModifyingSystem == "ARGONATH crosswalk accession v2"
    assert note.ModifiedAttributesSequence[0].AccessionNumber == "A1"
    assert revert(dataset) == 1
    assert dataset.AccessionNumber == "A1"


def test_the_note_has_the_time_of_the_studys_arrival_so_a_second_copy_is_the_same(
    context: TaskContext, database: Database
) -> None:
    with database.system_session("test") as session:
        studies.claim(session, "north", studies.Arrival(STUDY))
        session.execute("UPDATE study SET first_received_at = '2026-01-31 13:00:00+01'")
    create(context)
    import_rows(context, {"A1": {"new": "N1"}})
    first = sent(context)
    time.sleep(0.01)
    assert sent(context) == first
    note = first.OriginalAttributesSequence[0]
    assert note.AttributeModificationDateTime == "20260131120000.000000+0000"


@pytest.mark.parametrize(
    ("key", "told"),
    [
        (MISS, "'accession' (version 1) has no row for the study's AccessionNumber; add it"),
        ("", "has no AccessionNumber to look up"),
    ],
)
def test_a_miss_waits_for_a_person_and_neither_error_nor_log_says_what_was_looked_up(
    context: TaskContext,
    archive: FakeArchive,
    caplog: pytest.LogCaptureFixture,
    key: str,
    told: str,
) -> None:
    archive.files.clear()
    archive.add(make_file(1, AccessionNumber=key))
    create(context)
    import_rows(context, {"A1": {"new": "N1"}})
    with caplog.at_level(logging.DEBUG), pytest.raises(NeedsPerson) as error:
        crosswalk.prepare(context, SETTINGS, STUDY)
    assert told in str(error.value)
    assert MISS not in str(error.value) + caplog.text


def test_a_miss_can_write_defaults_or_keep_what_is_there(
    context: TaskContext, archive: FakeArchive
) -> None:
    archive.files.clear()
    archive.add(make_file(1, AccessionNumber=MISS))
    create(context)
    import_rows(context, {"A1": {"new": "N1"}})
    given = SETTINGS.model_dump() | {"on_miss": "default", "defaults": {"new": "UNKNOWN"}}
    assert sent(context, Crosswalk.model_validate(given)).AccessionNumber == "UNKNOWN"
    kept = sent(context, Crosswalk.model_validate(SETTINGS.model_dump() | {"on_miss": "keep"}))
    assert kept.AccessionNumber == MISS
    assert "OriginalAttributesSequence" not in kept


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (None, "There is no crosswalk table 'accession'"),
        ({}, "'accession' has no rows; import them"),
        ({"A1": {"other": "N1"}}, r"\(version 1\): it has no column new"),
        ({"A1": {"new": "N" * 17}}, "its column new cannot be written to AccessionNumber"),
    ],
)
def test_a_table_that_does_not_fit_the_rule_waits_for_a_person(
    context: TaskContext, rows: dict[str, dict[str, str]] | None, told: str
) -> None:
    if rows is not None:
        create(context)
        import_rows(context, rows)
    with pytest.raises(NeedsPerson, match=told):
        crosswalk.prepare(context, SETTINGS, STUDY)


def test_an_instance_that_differs_from_its_series_is_not_given_anothers_value(
    context: TaskContext, archive: FakeArchive
) -> None:
    archive.add(make_file(2, AccessionNumber="A2"))
    create(context)
    import_rows(context, {"A1": {"new": "N1"}, "A2": {"new": "N2"}})
    assert sent(context, number=1).AccessionNumber == "N1"
    with pytest.raises(CannotMorph, match="Its AccessionNumber is not that of the instance"):
        sent(context, number=2)


def test_an_import_that_changes_nothing_makes_no_version(context: TaskContext) -> None:
    create(context)
    rows = {"A1": {"new": "N1"}, "A2": {"new": "N2"}}
    assert [import_rows(context, rows), import_rows(context, rows)] == [1, 1]
    assert import_rows(context, {"A2": {"new": "N2"}}) == 2


def test_every_version_can_be_told_again(context: TaskContext, database: Database) -> None:
    create(context)
    versions = [
        {"A": {"n": "1"}, "B": {"n": "1"}},
        {"A": {"n": "2"}},
        {"A": {"n": "2"}, "B": {"n": "3"}},
    ]
    for rows in versions:
        import_rows(context, rows)
    with database.tenant_session("north") as session:
        crosswalk_tables.put_row(session, "accession", "C", {"n": "4"}, by=BY)
        now = crosswalk_tables.get_table(session, "accession")
        for number, rows in enumerate([*versions, {**versions[-1], "C": {"n": "4"}}], 1):
            then = replace(now, version=number)
            assert crosswalk_tables.find_rows(session, then, ["A", "B", "C"]) == rows


def test_a_row_that_is_removed_is_a_miss_in_a_new_version(
    context: TaskContext, database: Database
) -> None:
    create(context)
    import_rows(context, {"A1": {"new": "N1"}})
    with database.tenant_session("north") as session:
        assert crosswalk_tables.remove_row(session, "accession", "A1", by=BY) == 2
        with pytest.raises(NotFound):
            crosswalk_tables.remove_row(session, "accession", "A1", by=BY)
    with pytest.raises(NeedsPerson, match="has no row"):
        crosswalk.prepare(context, SETTINGS, STUDY)


def test_a_key_can_stand_in_a_private_tag(context: TaskContext, archive: FakeArchive) -> None:
    dataset = dcmread(BytesIO(make_file(1)))
    dataset.private_block(0x0019, "ACME 1", create=True).add_new(0x10, "LO", "A1")
    file = BytesIO()
    dataset.save_as(file)
    archive.add(file.getvalue())
    create(context)
    import_rows(context, {"A1": {"new": "N1"}})
    given = SETTINGS.model_dump() | {"look_up": '(0019,"ACME 1",10)'}
    assert sent(context, Crosswalk.model_validate(given)).AccessionNumber == "N1"


def test_many_rows_are_imported_and_found_quickly(context: TaskContext) -> None:
    create(context)
    rows = {f"A{number}": {"new": f"N{number}"} for number in range(20_000)}
    began = time.monotonic()
    import_rows(context, rows)
    rows["A5"] = {"new": "other"}
    assert import_rows(context, rows) == 2
    assert time.monotonic() - began < 30  # row by row, or comparing each with each, takes longer
    took = []
    for _ in range(5):
        began = time.monotonic()
        crosswalk.look_up(context, "accession", ["A1", "A19999"])
        took.append(time.monotonic() - began)
    assert min(took) < 0.5


def test_a_file_at_a_url_is_fetched_at_once_and_again_after_its_time(
    context: TaskContext, service: TableService, database: Database
) -> None:
    create(context, "csv", url=f"{service.url}/file.csv", key_column="old", every_s=600, token="t")
    assert planned(database) == [(1, 0)]
    with pytest.raises(CrosswalkUnavailable, match="was not fetched yet"):
        crosswalk.prepare(context, SETTINGS, STUDY)
    sync(context)
    assert sent(context).AccessionNumber == "N1"
    assert service.tokens == {"Bearer t"}
    assert planned(database) == [(1, 0), (2, 600)]
    service.file = "old,new\nA1,N2\n"
    sync(context)
    assert sent(context).AccessionNumber == "N2"
    assert (table(context).version, table(context).sync_run) == (2, 3)


def test_a_run_that_is_repeated_or_was_overtaken_plans_no_second_chain(
    context: TaskContext, service: TableService, database: Database
) -> None:
    create(context, "csv", url=f"{service.url}/file.csv", key_column="old")
    for _ in range(3):
        sync_crosswalk(context, "accession", 1)
    assert [run for run, _ in planned(database)] == [1, 2]


@pytest.mark.parametrize(
    ("status", "file", "told"),
    [
        (503, "", "answered HTTP 503"),
        (302, "", "answered HTTP 302"),
        (200, "old,new\nA1", "line 2: 1 fields where the first line has 2"),
    ],
)
def test_a_file_that_cannot_be_fetched_leaves_the_rows_says_why_and_is_tried_again_soon(
    context: TaskContext,
    service: TableService,
    database: Database,
    status: int,
    file: str,
    told: str,
) -> None:
    create(context, "csv", url=f"{service.url}/file.csv", key_column="old", every_s=86400)
    sync(context)
    service.status, service.file = status, file
    sync(context)
    assert told in (table(context).last_error or "")
    assert sent(context).AccessionNumber == "N1"
    assert planned(database)[-1][1] < 100
    service.status, service.file = 200, "old,new\nA1,N1\n"
    sync(context)
    assert table(context).last_error is None


def test_a_service_is_asked_once_for_a_key_while_its_answer_is_fresh(
    context: TaskContext, service: TableService, database: Database
) -> None:
    create(context, "lookup", url=service.url, keep_s=3600, token="t")
    for _ in range(2):
        dataset = sent(context)
    assert dataset.AccessionNumber == "N1"
    assert service.asked == ["A1"]
    assert service.tokens == {"Bearer t"}
    with database.system_session("test") as session:
        session.execute("UPDATE crosswalk_row SET fetched_at = now() - interval '2 hours'")
    service.rows["A1"] = {"new": "N2"}
    assert sent(context).AccessionNumber == "N2"
    assert dataset.OriginalAttributesSequence[0].ModifyingSystem.endswith("accession v1")
    assert table(context).version == 2
    sent(context)
    assert service.asked == ["A1", "A1"]


def test_a_try_out_asks_a_service_and_keeps_no_answer(
    context: TaskContext, service: TableService, database: Database
) -> None:
    create(context, "lookup", url=service.url, keep_s=3600)
    dataset = crosswalk.preview(context, SETTINGS, STUDY)(Dataset.from_json(head(context)))
    assert (dataset.AccessionNumber, service.asked) == ("N1", ["A1"])
    assert table(context).version == 0
    with database.system_session("test") as session:
        assert session.execute("SELECT FROM crosswalk_row").fetchone() is None


def head(context: TaskContext) -> dict[str, Any]:
    return context.archive.heads_of(STUDY)[0].metadata


def test_a_key_that_no_table_can_hold_is_a_miss(context: TaskContext, archive: FakeArchive) -> None:
    create(context)
    import_rows(context, {"A1": {"new": "N1"}})
    archive.add(make_file(1, AccessionNumber="A1 B").replace(b"A1 B", b"A\0 B"))
    with pytest.raises(NeedsPerson, match="has no row"):
        crosswalk.prepare(context, SETTINGS, STUDY)


def test_a_service_that_knows_a_key_no_more_is_a_miss(
    context: TaskContext, service: TableService
) -> None:
    create(context, "lookup", url=service.url, keep_s=0)
    assert sent(context).AccessionNumber == "N1"
    del service.rows["A1"]
    with pytest.raises(NeedsPerson, match="has no row"):
        crosswalk.prepare(context, SETTINGS, STUDY)


@pytest.mark.parametrize("answer", [["A1"], {"new": {"a": 1}}, "A1"])
def test_an_answer_that_cannot_be_read_is_tried_again_and_not_quoted(
    context: TaskContext, service: TableService, answer: Any
) -> None:
    create(context, "lookup", url=service.url)
    service.rows["A1"] = answer
    with pytest.raises(CrosswalkUnavailable) as error:
        crosswalk.prepare(context, SETTINGS, STUDY)
    assert not error.value.permanent
    assert "did not answer a JSON object" in str(error.value)
    assert "A1" not in str(error.value)


def test_a_service_that_does_not_answer_is_tried_again(
    context: TaskContext, service: TableService
) -> None:
    create(context, "lookup", url=service.url)
    service.close()
    with pytest.raises(CrosswalkUnavailable, match="ConnectError") as error:
        crosswalk.prepare(context, SETTINGS, STUDY)
    assert "A1" not in str(error.value)


def test_a_token_is_sealed_and_kept_for_its_own_address_alone(
    context: TaskContext, service: TableService, database: Database
) -> None:
    create(context, "lookup", url=service.url, keep_s=0, token="hush")
    with database.tenant_session("north") as session:
        row = session.execute("SELECT settings::text AS s FROM crosswalk").fetchone()
    assert row is not None
    assert "hush" not in row["s"]
    for url in (service.url, f"{service.url}/else"):
        with database.tenant_session("north") as session:
            crosswalk_tables.update_table(
                session,
                "accession",
                settings={"url": url, "keep_s": 0},
                encryption_key="key",
                by=BY,
            )
        service.tokens.clear()
        crosswalk.prepare(context, SETTINGS, STUDY)
        assert service.tokens == ({"Bearer hush"} if url == service.url else {None})


def test_a_tenant_neither_sees_nor_looks_up_another_ones_table(
    context: TaskContext, database: Database
) -> None:
    create(context)
    import_rows(context, {"A1": {"new": "N1"}})
    with database.tenant_session("south") as south:
        assert crosswalk_tables.list_tables(south) == []
        for name in ("crosswalk", "crosswalk_row"):
            assert south.execute(f"SELECT * FROM {name}".encode()).fetchall() == []
        with pytest.raises(NotFound):
            crosswalk_tables.get_table(south, "accession")
    with pytest.raises(NeedsPerson, match="There is no crosswalk table"):
        crosswalk.look_up(replace(context, tenant_id="south"), "accession", ["A1"])


def test_a_tenant_cannot_add_rows_to_another_ones_table(
    context: TaskContext, database: Database
) -> None:
    found = create(context)
    with pytest.raises(GatewayError), database.tenant_session("south") as south:
        crosswalk_tables.write_rows(south, found, {"A1": {"new": "X"}}, complete=False)
    with pytest.raises(Exception, match="foreign key"), database.tenant_session("south") as south:
        south.execute(
            "INSERT INTO crosswalk_row (crosswalk_id, tenant_id, key, columns, since) "
            "VALUES (%s, 'south', 'A1', '{}', 1)",
            [found.crosswalk_id],
        )


def test_names_are_unique_and_a_table_can_be_removed(
    context: TaskContext, database: Database
) -> None:
    create(context)
    with pytest.raises(Conflict):
        create(context)
    with pytest.raises(InvalidInput, match="name: 1 to 32"):
        create(context, name="Not a name")
    with database.tenant_session("north") as session:
        crosswalk_tables.delete_table(session, "accession", by=BY)
        assert crosswalk_tables.list_tables(session) == []


def test_the_audit_tells_of_imports_without_keys_or_values(
    context: TaskContext, database: Database
) -> None:
    create(context)
    import_rows(context, {"SECRET": {"new": "SECRET"}})
    with database.system_session("test") as session:
        rows = session.execute(
            "SELECT * FROM audit WHERE resource = 'crosswalk accession' ORDER BY audit_id"
        ).fetchall()
    assert [row["action"] for row in rows] == ["create-crosswalk", "import-crosswalk"]
    assert "1 rows, version 1" in str(rows[1])
    assert "SECRET" not in str(rows)


def test_a_new_table_is_fetched_by_the_worker_host(context: TaskContext, host: WorkerHost) -> None:
    create(context, "csv", url="http://127.0.0.1:9/accession.csv", key_column="old")
    assert "127.0.0.1" in until(lambda: table(context).last_error or "")
