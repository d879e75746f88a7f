"""What extensions note of a study: kept by name, for its tenant alone, as long as it is here."""

from __future__ import annotations

import pytest

from gateway import results, studies
from gateway.db import Database
from gateway.errors import NotFound
from gateway.results import Value
from gateway.studies import Arrival

STUDY = "1.2.3"


@pytest.fixture
def study(database: Database) -> str:
    """North's study."""
    with database.system_session("test") as session:
        studies.claim(session, "north", Arrival(STUDY))
    return STUDY


def note(database: Database, value: Value, name: str = "aorta", by: str = "trial") -> None:
    with database.tenant_session("north") as session:
        results.note(session, STUDY, name, value, extension=by)


def values(database: Database, tenant_id: str = "north") -> dict[str, Value]:
    with database.tenant_session(tenant_id) as session:
        return {one.name: one.value for one in results.of_study(session, STUDY)}


def told(database: Database) -> list[tuple[str, str]]:
    with database.system_session("test") as session:
        rows = session.execute(
            "SELECT tenant_id, payload->>'name' AS name FROM outbox WHERE kind = 'result_noted' "
            "AND payload->>'study_instance_uid' = %s ORDER BY event_id",
            [STUDY],
        )
        return [(row["tenant_id"], row["name"]) for row in rows]


@pytest.mark.parametrize("value", ["dissection", 5.6, 7, True, ["left", "right"], [1.5, 2]])
def test_a_result_is_read_as_it_was_noted(database: Database, study: str, value: Value) -> None:
    note(database, value)
    with database.tenant_session("north") as session:
        (found,) = results.of_study(session, study)
        many = results.of_studies(session, [study, "1.2.4"])
    assert (found.name, found.value, found.extension) == ("aorta", value, "trial")
    assert type(found.value) is type(value)
    assert many == {study: {"aorta": value}}


def test_a_later_result_of_that_name_takes_the_place_of_the_earlier(
    database: Database, study: str
) -> None:
    note(database, 5.6)
    note(database, True, name="urgent")
    note(database, 5.7, by="second reader")
    assert values(database) == {"aorta": 5.7, "urgent": True}


def test_listeners_hear_of_what_is_new_and_not_of_what_is_noted_again(
    database: Database, study: str
) -> None:
    note(database, 5.6)
    note(database, 5.6)
    assert told(database) == [("north", "aorta")]
    note(database, 5.7)
    assert told(database) == [("north", "aorta")] * 2


def test_nothing_is_told_of_a_result_whose_transaction_failed(
    database: Database, study: str
) -> None:
    with database.tenant_session("north") as session, session.transaction(force_rollback=True):
        results.note(session, study, "aorta", 5.6, extension="trial")
    assert (values(database), told(database)) == ({}, [])


def test_another_tenant_neither_reads_nor_notes_results_of_a_study(
    database: Database, study: str
) -> None:
    note(database, 5.6)
    with database.tenant_session("south") as session, pytest.raises(NotFound):
        results.note(session, study, "aorta", 1.0, extension="trial")
    assert values(database, "south") == {}
    assert values(database) == {"aorta": 5.6}


def test_results_go_with_their_study_and_none_is_noted_of_one_that_is_gone(
    database: Database, study: str
) -> None:
    note(database, 5.6)
    with database.system_session("test") as session:
        studies.forget(session, studies.orthanc_id("", study))
    with pytest.raises(NotFound):
        note(database, 5.7)
    with database.system_session("test") as session:
        studies.claim(session, "north", Arrival(STUDY))
    assert values(database) == {}
