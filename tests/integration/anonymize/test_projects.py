"""Projects and the way back from a pseudonym, in the database."""

from __future__ import annotations

import psycopg
import pytest

from extensions.anonymize import identities, projects
from extensions.anonymize.person import Person
from extensions.anonymize.projects import Project
from gateway.db import Database, Row
from gateway.errors import Conflict, NotFound, SecretUnreadable
from tests.integration.anonymize.conftest import JANE, KEY, make_project


def remember(database: Database, project: Project, person: Person = JANE) -> str:
    """The person's pseudonym."""
    with database.tenant_session("north") as session:
        identities.remember(session, project, person, KEY)
    return project.keys(KEY).patient(person.identity)


def look_up(
    database: Database, project: Project, asked: str, tenant: str = "north"
) -> Person | None:
    with database.tenant_session(tenant) as session:
        return identities.look_up(
            session,
            project,
            asked,
            encryption_key=KEY,
            actor="admin@example.org",
            origin="10.0.0.1",
        )


def audited(database: Database, action: str) -> list[Row]:
    with database.tenant_session("north") as session:
        return session.execute(
            "SELECT * FROM audit WHERE action = %s ORDER BY audit_id", [action]
        ).fetchall()


def test_a_pseudonym_and_a_study_s_new_uid_lead_back_to_the_patient(
    database: Database, lung: Project
) -> None:
    pseudonym = remember(database, lung)
    assert look_up(database, lung, pseudonym) == JANE
    assert look_up(database, lung, f" {pseudonym.lower()} ") == JANE
    assert look_up(database, lung, lung.keys(KEY).uid(JANE.study_uid)) == JANE


def test_the_same_study_sent_again_adds_no_second_row(database: Database, lung: Project) -> None:
    remember(database, lung)
    remember(database, lung)
    with database.tenant_session("north") as session:
        (found,) = projects.list_projects(session)
    assert found.patients == 1


def test_every_look_up_is_audited_and_none_names_a_patient(
    database: Database, lung: Project
) -> None:
    pseudonym = remember(database, lung)
    look_up(database, lung, pseudonym)
    look_up(database, lung, "LUNG-00000-00000")
    look_up(database, lung, "Doe^Jane")
    rows = audited(database, "reidentify")
    assert [(row["detail"], row["verdict"]) for row in rows] == [
        (f"pseudonym {pseudonym}", "allowed"),
        ("pseudonym LUNG-00000-00000", "failed"),
        ("not a pseudonym", "failed"),
    ]
    assert {(row["actor"], row["resource"]) for row in rows} == {
        ("admin@example.org", "research project LUNG")
    }


def test_another_tenant_finds_nobody_by_a_pseudonym_that_it_has_seen(
    database: Database, lung: Project
) -> None:
    pseudonym = remember(database, lung)
    assert look_up(database, lung, pseudonym, tenant="south") is None
    with database.tenant_session("south") as session, pytest.raises(NotFound):
        projects.get_project(session, lung.project_id)


def test_projects_of_one_name_in_two_tenants_have_different_pseudonyms(
    database: Database, lung: Project
) -> None:
    theirs = make_project(database, "south", "LUNG")
    ours, other = (project.keys(KEY).patient(JANE.identity) for project in (lung, theirs))
    assert ours != other


def test_a_second_project_of_one_name_is_refused(database: Database, lung: Project) -> None:
    with pytest.raises(Conflict):
        make_project(database, "north", "lung")


def test_what_the_database_holds_names_nobody(
    database: Database, lung: Project, owner_url: str
) -> None:
    remember(database, lung)
    with psycopg.connect(owner_url) as owner:
        rows = owner.execute(
            "SELECT p::text || coalesce(i::text, '') FROM research_project p "
            "JOIN research_identity i USING (project_id)"
        ).fetchall()
    assert len(rows) == 2
    for (text,) in rows:
        assert lung.keys(KEY).secret not in text
        assert not any(told in text for told in ("Doe", "4711", "19610203", JANE.study_uid))


def test_without_the_installation_s_key_nobody_is_found(database: Database, lung: Project) -> None:
    remember(database, lung)
    with pytest.raises(SecretUnreadable):
        lung.keys("another key")


@pytest.mark.parametrize("table", ["research_project", "research_identity"])
@pytest.mark.parametrize("statement", ["DELETE FROM {}", "UPDATE {} SET created_at = now()"])
def test_the_application_can_neither_change_nor_remove_them(
    database: Database, lung: Project, table: str, statement: str
) -> None:
    remember(database, lung)
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        database.tenant_session("north") as session,
    ):
        session.execute(statement.format(table).encode())


def test_options_are_kept_as_they_were_chosen(database: Database) -> None:
    made = make_project(
        database, "north", "HEART", dates="shifted", shift_days=30, retain_uids=True
    )
    with database.tenant_session("north") as session:
        found = projects.find_project(session, "HEART")
    assert found.options == made.options
    (row,) = audited(database, "create-project")
    assert row["detail"] == (
        "Basic Application Confidentiality Profile; Retain UIDs Option; "
        "Retain Longitudinal Temporal Information Modified Dates Option"
    )
