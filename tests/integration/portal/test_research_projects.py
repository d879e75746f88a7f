"""The pages of research projects: who may see, create and look up."""

from __future__ import annotations

import pytest
from flask import Flask

from extensions.anonymize import identities, projects
from extensions.anonymize.person import Person
from gateway.db import Database
from tests.integration.portal.conftest import HTML, signed_in

JANE = Person("MRN-4711", "Doe^Jane", "19610203", "1.2.826.0.1.77")
FORM = {"name": "lung", "clean_descriptors": "yes", "dates": "shifted", "shift_days": "30"}
IDENTITY = "/anonymize/projects/1/identity"


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
