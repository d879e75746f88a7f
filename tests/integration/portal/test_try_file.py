"""One file, tried: what would be done with it, which tags would change, and beside what is live."""

from __future__ import annotations

import html
import re
from io import BytesIO

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.datastructures import FileStorage
from werkzeug.test import TestResponse

from extensions.anonymize import projects
from extensions.anonymize.options import Options
from extensions.routing import destinations
from extensions.routing.changes import crosswalk_tables
from extensions.routing.changes.crosswalk_tables import By
from gateway.db import Database
from gateway.settings import Settings
from tests.integration.portal.conftest import HTML, signed_in
from tests.integration.routing.conftest import STUDY, make_file
from tests.routing_rules import add_rule

FILE = make_file(1, AccessionNumber="A-7")
DRAFT = """\
rules:
- name: Research
  when: {field: Modality, operator: equals, value: CT}
  actions:
  - forward: {to: archive}
  - %s
  - forward: {to: research}
"""
MORPH = "morph: {changes: [{do: prefix, tag: AccessionNumber, text: N-}]}"
CROSSWALK = "crosswalk: {table: numbers, look_up: AccessionNumber, sets: {new: AccessionNumber}}"


@pytest.fixture
def admin(app: Flask, database: Database) -> FlaskClient:
    """An admin of north, which has one destination."""
    with database.tenant_session("north") as session:
        destinations.create_destination(
            session,
            name="archive",
            kind="dimse",
            settings={"host": "127.0.0.1", "port": 104, "called_aet": "A"},
            actor="test",
        )
    return signed_in(app, "admin")


def answer_of(client: FlaskClient, file: bytes = FILE, **form: str) -> TestResponse:
    sent = {"dicom": FileStorage(BytesIO(file), "a.dcm"), **form}
    return client.post("/routing/rules/try-file", data=sent, headers=HTML)


def tried(client: FlaskClient, text: str, file: bytes = FILE, **form: str) -> str:
    answer = answer_of(client, file, text=text, **form)
    assert answer.status_code == 200, answer.text
    return html.unescape(answer.text)


def rows(page: str, heading: str) -> list[str]:
    """The text of each row of the table under a heading."""
    table = page.partition(f">{heading}</h")[2].partition("<tbody>")[2].partition("</tbody>")[0]
    plain = [re.sub(r"<[^>]+>", " ", row) for row in table.split("</tr>")]
    return [" ".join(row.split()) for row in plain if row.strip()]


def test_where_a_file_would_be_sent_stands_in_the_rules_order(admin: FlaskClient) -> None:
    assert rows(tried(admin, DRAFT % MORPH), "What would be done") == [
        "forward to archive Research only the draft does it",
        "forward to research after morph no such destination Research only the draft does it",
    ]


def test_which_tags_would_change_is_shown_before_and_after(admin: FlaskClient) -> None:
    changed = rows(tried(admin, DRAFT % MORPH), "Tags that change in the copy")
    assert changed[0] == "AccessionNumber A-7 N-A-7"
    assert not [row for row in changed if row.startswith("PatientName")]


def test_what_the_live_rules_do_otherwise_stands_beside_the_draft(
    admin: FlaskClient, database: Database
) -> None:
    mr, ct = ("Modality", "equals", "MR"), ("Modality", "equals", "CT")
    with database.tenant_session("north") as session:
        add_rule(session, "Research", "archive", mr)
        add_rule(session, "Old", "archive", ct)
    page = tried(admin, DRAFT % MORPH, whole="yes")
    last = "forward to archive Old only the live rules do it"
    assert rows(page, "What would be done")[-1] == last
    assert "live: conditions not met" in page


def test_a_draft_of_one_rule_is_tried_among_the_others(
    admin: FlaskClient, database: Database
) -> None:
    with database.tenant_session("north") as session:
        add_rule(session, "First", "archive", stop=True)
        add_rule(session, "Research", "archive")
    page = " ".join(tried(admin, DRAFT % MORPH, rule_name="Research").split())
    assert '<h2>Research</h2><div class="buttons"><span class="badge ">stopped by' in page
    assert rows(page, "What would be done") == ["forward to archive First the same"]


def test_live_rules_are_tried_without_a_comparison(admin: FlaskClient, database: Database) -> None:
    with database.tenant_session("north") as session:
        add_rule(session, "All", "archive")
    page = tried(admin, "")
    assert rows(page, "What would be done") == ["forward to archive All"]
    assert "Beside the live rules" not in page


def numbers(database: Database, rows_of: dict[str, dict[str, str]]) -> None:
    with database.tenant_session("north") as session:
        crosswalk_tables.create_table(
            session, name="numbers", kind="table", settings={}, by=By("anna")
        )
        crosswalk_tables.import_rows(session, "numbers", rows_of, by=By("anna"))


def test_a_file_that_is_not_stored_is_looked_up_in_a_table(
    admin: FlaskClient, database: Database
) -> None:
    numbers(database, {"A-7": {"new": "N77"}})
    changed = rows(tried(admin, DRAFT % CROSSWALK), "Tags that change in the copy")
    assert changed[0] == "AccessionNumber A-7 N77"
    other = tried(admin, DRAFT % CROSSWALK, make_file(1, AccessionNumber="A-8"))
    assert "has no row for the study's AccessionNumber; add it." in other


def test_a_file_is_shown_without_names_for_a_project_and_no_pseudonym_is_kept(
    admin: FlaskClient, database: Database, settings: Settings
) -> None:
    with database.tenant_session("north") as session:
        projects.create_project(
            session, "LUNG", Options(), encryption_key=settings.encryption_key, actor="a", origin=""
        )
    changed = rows(
        tried(admin, DRAFT % "anonymize: {project: LUNG}"), "Tags that change in the copy"
    )
    (name,) = [row for row in changed if row.startswith("PatientName ")]
    assert name.startswith("PatientName Doe^Jane LUNG-")
    with database.tenant_session("north") as session:
        assert session.execute("SELECT FROM research_identity").fetchone() is None


def test_a_file_without_uids_says_why_nothing_is_looked_up_for_it(
    admin: FlaskClient, database: Database
) -> None:
    numbers(database, {"A-7": {"new": "N77"}})
    page = tried(
        admin, DRAFT % CROSSWALK, make_file(1, AccessionNumber="A-7", SeriesInstanceUID="")
    )
    assert "The file names no study, series and instance" in page
    assert "would fire" in page


@pytest.mark.parametrize(
    "file",
    [
        FILE[:700],
        FILE.replace(b"A-7 ", b"A\0-7"),
        FILE.replace(STUDY.encode(), STUDY[:-2].encode() + b"\0" + STUDY[-1:].encode()),
    ],
)
def test_a_damaged_file_is_answered_with_a_page(
    admin: FlaskClient, database: Database, file: bytes
) -> None:
    numbers(database, {"A-7": {"new": "N77"}})
    assert answer_of(admin, file, text=DRAFT % CROSSWALK).status_code in {200, 400}


def test_a_wrong_draft_goes_back_to_its_editor(admin: FlaskClient) -> None:
    answer = answer_of(admin, text=DRAFT.replace("Modality", "Modalit") % MORPH)
    assert answer.status_code == 400
    assert 'name="text" class="code"' in answer.text
    assert "did you mean Modality?" in answer.text
