"""The pages of research projects: who may see, create and look up."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from extensions.anonymize import identities, projects
from extensions.anonymize.person import Person
from extensions.routing import destinations, progress, runs
from gateway.actions import Step, Subject, steps_of
from gateway.archive import Reference
from gateway.db import Database, Session
from tests.integration.portal.conftest import HTML, UID, signed_in
from tests.routing_rules import add_rule

JANE = Person("MRN-4711", "Doe^Jane", "19610203", "1.2.826.0.1.77")
FORM = {"name": "lung", "clean_descriptors": "yes", "dates": "shifted", "shift_days": "30"}
PROJECT = "/anonymize/projects/1"
IDENTITY = f"{PROJECT}/identity"
TYPED = {"confirmed": "LUNG"}
LINE = {"anonymize": {"project": "LUNG"}}


@pytest.fixture
def pseudonym(app: Flask, database: Database) -> str:
    """Jane's, in the project LUNG that the admin has created."""
    answer = signed_in(app, "admin").post("/anonymize/projects/new", data=FORM, headers=HTML)
    assert answer.status_code == 303, answer.text
    with database.tenant_session("north") as session:
        project = projects.find_project(session, "LUNG")
        identities.remember(session, project, JANE, "key")
    return project.keys("key").patient(JANE.identity)


def test_a_project_is_listed_with_what_it_keeps(app: Flask, pseudonym: str) -> None:
    page = signed_in(app, "viewer").get("/anonymize/projects", headers=HTML).text
    assert "LUNG" in page
    assert "Clean descriptors" in page
    assert "moved by up to 30 days" in page
    assert "Look up" not in page
    assert "New project" not in page


def test_an_admin_finds_who_is_behind_a_pseudonym(app: Flask, pseudonym: str) -> None:
    admin = signed_in(app, "admin")
    assert admin.get(IDENTITY, headers=HTML).status_code == 200
    answer = admin.post(IDENTITY, data={"pseudonym": pseudonym}, headers=HTML)
    assert "Doe, Jane" in answer.text
    assert "MRN-4711" in answer.text
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_pseudonym_of_nobody_says_so(app: Flask, pseudonym: str) -> None:
    asked = {"pseudonym": "LUNG-00000-00000"}
    page = signed_in(app, "admin").post(IDENTITY, data=asked, headers=HTML).text
    assert "Nobody in LUNG has this pseudonym." in page


@pytest.mark.parametrize(("name", "status"), [("viewer", 403), ("root", 403), ("south", 404)])
def test_nobody_else_does_and_a_refusal_is_audited(
    app: Flask, database: Database, pseudonym: str, name: str, status: int
) -> None:
    answer = signed_in(app, name).post(IDENTITY, data={"pseudonym": pseudonym}, headers=HTML)
    assert answer.status_code == status
    assert "Doe" not in answer.text
    if status == 403:
        with database.system_session("test") as session:
            rows = session.execute(
                "SELECT actor FROM audit WHERE verdict = 'denied' AND resource = %s", [IDENTITY]
            ).fetchall()
        assert [row["actor"] for row in rows] == [f"{name}@example.org"]


def test_a_viewer_creates_no_project(app: Flask) -> None:
    viewer = signed_in(app, "viewer")
    assert viewer.post("/anonymize/projects/new", data=FORM, headers=HTML).status_code == 403


def test_a_wrong_name_is_told_above_the_form_which_keeps_what_was_chosen(app: Flask) -> None:
    form = FORM | {"name": "2 lungs"}
    answer = signed_in(app, "admin").post("/anonymize/projects/new", data=form, headers=HTML)
    assert answer.status_code == 400
    assert "with a letter first" in answer.text
    assert 'name="clean_descriptors" value="yes" checked' in answer.text


def project_of(database: Database, name: str = "LUNG") -> projects.Project:
    with database.tenant_session("north") as session:
        return projects.find_project(session, name)


@pytest.mark.usefixtures("pseudonym")
def test_an_admin_changes_what_no_pseudonym_depends_on(app: Flask, database: Database) -> None:
    admin = signed_in(app, "admin")
    page = admin.get(PROJECT, headers=HTML).text
    assert "moved by up to 30 days" in page
    assert 'name="retain_uids"' not in page
    form = {"description": "Screening", "clean_graphics": "yes", "dates": "full", "name": "OTHER"}
    assert admin.post(PROJECT, data=form | {"retain_uids": "yes"}).status_code == 303
    project = project_of(database)
    assert (project.description, project.options.clean_graphics) == ("Screening", True)
    assert not project.options.clean_descriptors
    assert (project.options.dates, project.options.retain_uids) == ("shifted", False)
    assert "Screening" in signed_in(app, "viewer").get("/anonymize/projects", headers=HTML).text


@pytest.mark.usefixtures("pseudonym")
def test_a_description_that_is_too_long_keeps_what_was_chosen(app: Flask) -> None:
    form = {"description": "x" * 201, "clean_graphics": "yes"}
    answer = signed_in(app, "admin").post(PROJECT, data=form, headers=HTML)
    assert answer.status_code == 400
    assert "at most 200 characters" in answer.text
    assert 'name="clean_graphics" value="yes" checked' in answer.text


@pytest.mark.usefixtures("pseudonym")
def test_a_project_is_deleted_by_typing_its_name(app: Flask, database: Database) -> None:
    admin = signed_in(app, "admin")
    assert "The way back of 1 patient goes for good" in admin.get(PROJECT, headers=HTML).text
    wrong = admin.post(f"{PROJECT}/delete", data={"confirmed": "HEART"}, headers=HTML)
    assert wrong.status_code == 400
    assert "type LUNG to delete" in wrong.text
    assert admin.post(f"{PROJECT}/delete", data=TYPED, headers=HTML).status_code == 303
    assert admin.get(PROJECT, headers=HTML).status_code == 404
    with database.tenant_session("north") as session:
        rows = session.execute(
            "SELECT verdict FROM audit WHERE action = 'delete-project' ORDER BY audit_id"
        ).fetchall()
    assert [row["verdict"] for row in rows] == ["failed", "allowed"]


def use_by_rule(session: Session) -> None:
    add_rule(session, "CT", "", actions=[LINE, {"label": {"add": ["x"]}}], enabled=False)


def use_by_delivery(session: Session) -> None:
    place = destinations.create_destination(
        session,
        name="PACS",
        kind="dimse",
        settings={"host": "127.0.0.1", "port": 1, "called_aet": "PACS"},
        actor="test",
    )
    steps = (Step("anonymize", {"project": "LUNG"}),)
    instances = (Reference(f"{UID}.1.1", f"{UID}.1", "1.2"),)
    progress.plan(session, place, Subject(UID, instances, "gone", transforms=steps))


def use_by_held_study(session: Session) -> None:
    runs.begin(
        session,
        study_uid=UID,
        series_uid="",
        rule_name="gone",
        version=1,
        reason=[],
        steps=steps_of([LINE, {"hold": {"reason": "look"}}]),
        priority="normal",
        instances=1,
    )
    session.execute("UPDATE rule_run SET state = 'held'")


@pytest.mark.parametrize(
    ("use", "told"),
    [
        (use_by_rule, "rule &#39;CT&#39;"),
        (use_by_delivery, "deliveries that are not finished: 1"),
        (use_by_held_study, "rules that are not done with their study: 1"),
    ],
)
@pytest.mark.usefixtures("pseudonym")
def test_a_project_that_is_used_is_not_deleted_and_the_page_says_by_what(
    app: Flask, database: Database, use: Callable[[Session], None], told: str
) -> None:
    with database.tenant_session("north") as session:
        use(session)
    admin = signed_in(app, "admin")
    page = admin.get(PROJECT, headers=HTML).text
    assert told in page
    assert "Delete project" not in page
    answer = admin.post(f"{PROJECT}/delete", data=TYPED, headers=HTML)
    assert answer.status_code == 409
    assert f"LUNG: {told}." in answer.text
    assert project_of(database).patients == 1


@pytest.mark.usefixtures("pseudonym")
def test_what_is_over_or_of_another_project_hinders_no_deletion(
    app: Flask, database: Database
) -> None:
    with database.tenant_session("north") as session:
        add_rule(session, "MR", "", actions=[{"anonymize": {"project": "HEART"}}])
        use_by_delivery(session)
        use_by_held_study(session)
        session.execute("UPDATE delivery_instance SET state = 'delivered'")
        session.execute("UPDATE rule_run SET state = 'done'")
    answer = signed_in(app, "admin").post(f"{PROJECT}/delete", data=TYPED, headers=HTML)
    assert answer.status_code == 303


@pytest.mark.parametrize(("name", "status"), [("viewer", 403), ("south", 404)])
@pytest.mark.usefixtures("pseudonym")
def test_nobody_else_opens_changes_or_deletes_it(
    app: Flask, database: Database, name: str, status: int
) -> None:
    other = signed_in(app, name)
    answers = [
        other.get(PROJECT, headers=HTML),
        other.post(PROJECT, data={"description": "theirs"}, headers=HTML),
        other.post(f"{PROJECT}/delete", data=TYPED, headers=HTML),
    ]
    assert [answer.status_code for answer in answers] == [status] * 3
    assert not any("LUNG" in answer.text for answer in answers)
    assert (project_of(database).description, project_of(database).patients) == ("", 1)
