"""Projects and the way back from a pseudonym, in the database."""

from __future__ import annotations

import psycopg
import pytest

from extensions.anonymize import identities, projects
from extensions.anonymize.options import Options
from extensions.anonymize.person import Person
from extensions.anonymize.projects import Project, ProjectInUse
from gateway.db import Database, Row
from gateway.errors import Conflict, InvalidInput, NotFound, SecretUnreadable
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


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE research_project SET name = 'OTHER'",
        "UPDATE research_project SET secret = 'sealed:other'",
        "UPDATE research_identity SET sealed = 'sealed:other'",
        "DELETE FROM research_identity",
    ],
)
def test_the_application_changes_no_pseudonym_and_no_way_back(
    database: Database, lung: Project, statement: str
) -> None:
    remember(database, lung)
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        database.tenant_session("north") as session,
    ):
        session.execute(statement.encode())


def change(database: Database, project: Project, description: str, options: Options) -> None:
    with database.tenant_session("north") as session:
        projects.change_project(
            session, project, description=description, options=options, actor="anna", origin=""
        )


def test_a_changed_project_gives_the_same_pseudonyms(database: Database, lung: Project) -> None:
    pseudonym = remember(database, lung)
    change(database, lung, "Screening 2026", Options(clean_graphics=True, burned_in="pass"))
    with database.tenant_session("north") as session:
        found = projects.find_project(session, "LUNG")
    assert (found.description, found.options.clean_graphics) == ("Screening 2026", True)
    assert found.keys(KEY).patient(JANE.identity) == pseudonym
    assert look_up(database, found, pseudonym) == JANE
    (row,) = audited(database, "change-project")
    assert row["detail"] == (
        "Basic Application Confidentiality Profile; Clean Graphics Option; burned-in text passes"
    )


def test_a_description_that_is_too_long_is_refused(database: Database, lung: Project) -> None:
    with pytest.raises(InvalidInput, match="200 characters"):
        change(database, lung, "x" * 201, Options())


def delete(
    database: Database, project: Project, confirmed: str = "LUNG", uses: tuple[str, ...] = ()
) -> None:
    with database.tenant_session("north") as session:
        projects.delete_project(
            session, project, confirmed=confirmed, uses=uses, actor="anna", origin="10.0.0.1"
        )


def ways_back(owner_url: str) -> list[tuple[str, int]]:
    """How many there are, by tenant; whatever the application may see."""
    with psycopg.connect(owner_url) as owner:
        return owner.execute(
            "SELECT tenant_id, count(*) FROM research_identity GROUP BY 1 ORDER BY 1"
        ).fetchall()


def test_a_deleted_project_takes_its_way_back_with_it_and_no_other(
    database: Database, lung: Project, owner_url: str
) -> None:
    theirs = make_project(database, "south", "LUNG")
    with database.tenant_session("south") as session:
        identities.remember(session, theirs, JANE, KEY)
    remember(database, lung)
    assert ways_back(owner_url) == [("north", 2), ("south", 2)]
    with database.tenant_session("north") as session:
        delete(database, projects.get_project(session, lung.project_id))
    assert ways_back(owner_url) == [("south", 2)]
    with database.tenant_session("north") as session, pytest.raises(NotFound):
        projects.find_project(session, "LUNG")
    (row,) = audited(database, "delete-project")
    assert (row["actor"], row["resource"], row["detail"]) == (
        "anna",
        "research project LUNG",
        "patients without a way back now: 1",
    )


def test_a_new_project_of_a_deleted_one_s_name_gives_other_pseudonyms(
    database: Database, lung: Project
) -> None:
    pseudonym = remember(database, lung)
    delete(database, lung)
    again = make_project(database, "north", "LUNG")
    assert again.keys(KEY).patient(JANE.identity) != pseudonym
    assert look_up(database, again, pseudonym) is None


def test_a_project_is_deleted_only_by_its_name_and_only_if_nothing_uses_it(
    database: Database, lung: Project, owner_url: str
) -> None:
    remember(database, lung)
    with pytest.raises(InvalidInput, match="type LUNG"):
        delete(database, lung, confirmed="lung")
    with pytest.raises(ProjectInUse, match="rule 'CT'"):
        delete(database, lung, uses=("rule 'CT'",))
    assert ways_back(owner_url) == [("north", 2)]


def test_another_tenant_s_session_deletes_nothing(
    database: Database, lung: Project, owner_url: str
) -> None:
    remember(database, lung)
    with database.tenant_session("south") as session:
        session.execute("DELETE FROM research_project")
        session.execute("UPDATE research_project SET options = '{}', description = 'x'")
    assert ways_back(owner_url) == [("north", 2)]
    with database.tenant_session("north") as session:
        assert projects.find_project(session, "LUNG").description == ""


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
