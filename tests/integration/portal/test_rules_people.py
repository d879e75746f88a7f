"""Where rules ask people: what is held, the way of a study, try-outs, and crosswalk tables."""

from __future__ import annotations

import html
import re
from io import BytesIO
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.datastructures import FileStorage
from werkzeug.test import TestResponse, encode_multipart

from extensions.routing import labels, runs
from extensions.routing.changes import crosswalk_tables
from gateway import jobs
from gateway.actions import Step
from gateway.db import Database
from tests.integration.portal.conftest import HTML, UID, signed_in
from tests.integration.routing.conftest import make_file
from tests.routing_rules import add_rule

SEEN = {"condition": "Modality equals CT", "seen": ["CT"], "met": True}
STEPS = [Step("label", {"add": ["seen"]}), Step("hold", {"reason": "Check the name."})]
STEPS.append(Step("forward", {"to": "archive"}))


@pytest.fixture
def admin(app: Flask) -> FlaskClient:
    return signed_in(app, "admin")


@pytest.fixture
def held(app: Flask, database: Database) -> int:
    """A rule holds the study of north at the second of its three actions."""
    with database.tenant_session("north") as session:
        run_id = runs.begin(
            session,
            study_uid=UID,
            series_uid="",
            rule_name="Names",
            version=1,
            reason=[SEEN],
            steps=STEPS,
            priority="normal",
            instances=2,
        )
        assert run_id is not None
        run = runs.get_run(session, run_id)
        runs.step_done(session, run, 0)
        run = runs.get_run(session, run_id)
        assert runs.stop(session, run, 1, "held", "Check the name.")
    return run_id


def state_of(database: Database, run_id: int) -> tuple[str, str]:
    with database.tenant_session("north") as session:
        run = runs.get_run(session, run_id)
    return run.state, run.cause


def post(client: FlaskClient, path: str, **form: Any) -> TestResponse:
    return client.post(path, data=form, headers=HTML)


def page_of(client: FlaskClient, path: str) -> str:
    answer = client.get(path, headers=HTML)
    assert answer.status_code == 200, answer.text
    return answer.text


def test_what_is_held_is_listed_with_its_reason_and_goes_on_when_it_is_released(
    admin: FlaskClient, database: Database, held: int
) -> None:
    page = page_of(admin, "/routing/rules/attention")
    assert "Check the name." in page
    assert "action 2 of 3" in page
    assert "1 need a decision" in page_of(admin, "/")
    assert post(admin, f"/routing/rules/runs/{held}/release").status_code == 303
    assert state_of(database, held) == ("running", "")
    assert "Nothing waits for you" in page_of(admin, "/routing/rules/attention")


def test_who_discards_says_why(admin: FlaskClient, database: Database, held: int) -> None:
    assert post(admin, f"/routing/rules/runs/{held}/discard", reason=" ").status_code == 400
    assert state_of(database, held)[0] == "held"
    post(admin, f"/routing/rules/runs/{held}/discard", reason="Sent twice.")
    assert state_of(database, held) == ("discarded", "Sent twice.")
    assert post(admin, f"/routing/rules/runs/{held}/release").status_code == 409


def test_only_an_admin_of_its_tenant_decides(app: Flask, database: Database, held: int) -> None:
    viewer, south = signed_in(app, "viewer"), signed_in(app, "south")
    assert "Release" not in page_of(viewer, "/routing/rules/attention")
    assert post(viewer, f"/routing/rules/runs/{held}/release").status_code == 403
    assert post(south, f"/routing/rules/runs/{held}/release").status_code == 404
    assert "Check the name." not in page_of(south, "/routing/rules/attention")
    assert state_of(database, held)[0] == "held"


def test_the_page_of_a_study_shows_its_way_through_the_rules(
    admin: FlaskClient, database: Database, held: int
) -> None:
    with database.tenant_session("north") as session:
        session.execute("INSERT INTO study_label VALUES (current_tenant(), %s, 'research')", [UID])
        assert labels.of_study(session, UID) == ["research"]
    page = " ".join(page_of(admin, f"/studies/{UID}").split())
    assert 'met: </span><span aria-hidden="true">✓</span> Modality equals CT' in page
    assert "saw CT" in page
    assert 'label: add seen <span class="badge good">done</span>' in page
    assert 'hold for a person: Check the name. <span class="badge bad">held</span>' in page
    assert 'forward to archive <span class="badge ">waiting</span>' in page
    assert '<span class="badge">research</span>' in page


def test_a_person_applies_a_rule_to_a_study(
    app: Flask, admin: FlaskClient, database: Database
) -> None:
    label = [{"label": {"add": ["asked"]}}]
    with database.tenant_session("north") as session:
        add_rule(session, "Ask me", "", actions=label, trigger="on demand")
        add_rule(session, "By itself", "", actions=label)
        add_rule(session, "Off", "", actions=label, enabled=False)
        remove = [{"morph": {"changes": [{"remove": {"tag": "PatientComments"}}]}}]
        add_rule(session, "Early", "", actions=remove, trigger="before storage")
    page = page_of(admin, f"/studies/{UID}")
    assert re.findall("<option>(.*?)</option>", page) == ["Ask me", "By itself"]
    path = f"/routing/studies/{UID}/apply"
    for name in ("Off", "Early"):
        assert post(admin, path, rule=name).status_code == 409
    assert post(signed_in(app, "viewer"), path, rule="Ask me").status_code == 403
    assert post(signed_in(app, "south"), path, rule="Ask me").status_code == 404
    assert post(admin, path, rule="Ask me").status_code == 303
    assert jobs_of(database) == [("apply", {"study_uid": UID, "rule_name": "Ask me"})]
    again = post(admin, path, rule="Ask me")
    assert again.status_code == 409
    assert "is under way" in again.text
    assert len(jobs_of(database)) == 1


def test_a_rule_that_is_under_way_is_discarded_on_the_page_of_its_study(
    admin: FlaskClient, database: Database, held: int
) -> None:
    post(admin, f"/routing/rules/runs/{held}/release")
    assert f"runs/{held}/discard" in page_of(admin, f"/studies/{UID}")
    assert post(admin, f"/routing/rules/runs/{held}/discard", reason="Gone.").status_code == 303
    assert state_of(database, held) == ("discarded", "Gone.")
    assert ("act", "done") in [(row["task"], row["state"]) for row in all_jobs(database)]


def all_jobs(database: Database) -> list[dict[str, Any]]:
    with database.system_session("test") as session:
        return session.execute("SELECT * FROM job ORDER BY job_id").fetchall()


def jobs_of(database: Database) -> list[tuple[str, dict[str, Any]]]:
    return [(row["task"], row["arguments"]) for row in all_jobs(database)]


def test_a_draft_is_tried_on_studies_by_a_worker(
    app: Flask, admin: FlaskClient, database: Database
) -> None:
    text = "rules:\n- name: A\n  actions:\n  - label: {add: [a]}\n"
    started = post(admin, "/routing/rules/tryouts", text=text, whole="yes", studies="50", days="7")
    assert started.status_code == 303
    number = int(started.location.rpartition("/")[2])
    assert jobs_of(database) == [("try_rules", {"tryout_id": number})]
    page = page_of(admin, started.location)
    assert "0 of 0 studies looked at" in page
    assert 'hx-trigger="every 1s"' in page
    assert f'href="{started.location}"' in page_of(admin, "/routing/rules")
    south = signed_in(app, "south")
    assert south.get(started.location, headers=HTML).status_code == 404
    assert started.location not in page_of(south, "/routing/rules")
    (draft,) = re.findall(
        'name="text" hidden aria-label="Rules">\n(.*?)</textarea>', page, re.DOTALL
    )
    on = post(admin, "/routing/rules/text", text=html.unescape(draft), then="edit")
    assert "- name: A" in on.text
    assert "No mistake in 1 rule" in on.text
    wrong = post(admin, "/routing/rules/tryouts", text=text, whole="yes", days="many")
    assert wrong.status_code == 400


def test_the_page_of_a_tryout_that_has_failed_says_why_and_asks_no_more(
    admin: FlaskClient, database: Database
) -> None:
    text = "rules:\n- name: A\n  actions:\n  - label: {add: [a]}\n"
    started = post(admin, "/routing/rules/tryouts", text=text, whole="yes")
    with database.system_session("test") as session:
        job = jobs.claim(session, 1)
        assert job is not None
        jobs.give_up(session, job, "ArchiveUnavailable: Orthanc does not answer.")
    page = page_of(admin, started.location)
    assert "This try-out has failed: ArchiveUnavailable: Orthanc does not answer." in page
    assert "hx-trigger" not in page.partition('id="tryout"')[2].partition("</p>")[0]


def test_one_file_is_tried_at_once_and_every_condition_says_what_it_saw(
    admin: FlaskClient, database: Database
) -> None:
    with database.tenant_session("north") as session:
        add_rule(
            session, "CT", "", ("Modality", "equals", "CT"), actions=[{"label": {"add": ["ct"]}}]
        )
        add_rule(
            session, "MR", "", ("Modality", "equals", "MR"), actions=[{"label": {"add": ["a"]}}]
        )
    large = make_file(1, PixelData=bytes(3_000_000))
    page = " ".join(tried(admin, large, "").text.split())
    assert '<h2>CT</h2><div class="buttons"><span class="badge good">would fire</span>' in page
    assert '<h2>MR</h2><div class="buttons"><span class="badge ">conditions not met</span>' in page
    assert '<code>Modality equals MR</code> <span class="soft">saw</span> CT' in page
    draft = """rules:
- name: From the emergency room
  when: {field: calling_aet, operator: equals, value: ER1}
  actions:
  - label: {add: [er]}
"""
    page = tried(admin, large, draft, calling_aet="ER1").text
    assert "From the emergency room" in page
    assert "would fire" in page
    with database.tenant_session("north") as session:
        assert session.execute("SELECT FROM series_facts").fetchone() is None


def tried(client: FlaskClient, file: bytes, text: str, calling_aet: str = "") -> TestResponse:
    form = {"dicom": FileStorage(BytesIO(file), "a.dcm"), "text": text, "calling_aet": calling_aet}
    boundary, body = encode_multipart(form)
    kind = f"multipart/form-data; boundary={boundary}"
    return client.post("/routing/rules/try-file", data=body, content_type=kind, headers=HTML)


def test_what_is_no_dicom_file_is_refused(admin: FlaskClient) -> None:
    answer = tried(admin, b"%PDF-1.7 and more", "")
    assert answer.status_code == 400
    assert "no DICOM file" in answer.text


@pytest.fixture
def numbers(admin: FlaskClient) -> str:
    """The path of a table of north."""
    made = post(admin, "/routing/rules/crosswalks/new", name="numbers", kind="table")
    assert made.status_code == 303
    return str(made.location)


def test_a_table_is_imported_with_every_wrong_line_named(
    admin: FlaskClient, numbers: str, database: Database
) -> None:
    wrong = "old,new\nP1,1\nP1,2\nP3\n"
    answer = post(admin, numbers, do="import", key_column="old", csv=wrong)
    assert answer.status_code == 400
    assert "line 3" in answer.text
    assert "line 4" in answer.text
    file = (BytesIO(b"old;new\nP1;1\nP2;2\n"), "a.csv")
    assert post(admin, numbers, do="import", key_column="old", file=file).status_code == 303
    page = page_of(admin, numbers)
    assert "2 rows, version 1" in page
    assert "<code>P2</code>" in page
    assert "<code>P1</code>" not in post(admin, numbers, do="find", key="P2").text


def test_a_row_is_set_and_removed_and_its_key_is_in_no_audit_record(
    admin: FlaskClient, numbers: str, database: Database
) -> None:
    row = {"do": "set", "key": "Doe^Jane", "column": ["new", ""], "cell": ["77", ""]}
    assert admin.post(numbers, data=row, headers=HTML).status_code == 303
    with database.tenant_session("north") as session:
        table = crosswalk_tables.get_table(session, "numbers")
        rows = crosswalk_tables.find_rows(session, table, ["Doe^Jane"])
    assert rows == {"Doe^Jane": {"new": "77"}}
    assert post(admin, numbers, do="remove", key="Doe^Jane").status_code == 303
    gone = post(admin, numbers, do="remove", key="Doe^Jane")
    assert gone.status_code == 409
    with database.system_session("test") as session:
        told = " ".join(str(dict(row)) for row in session.execute("SELECT * FROM audit"))
    assert "import-crosswalk" in told
    assert "Doe" not in told


def test_tables_are_an_admins_and_their_tenants(app: Flask, numbers: str) -> None:
    for name, status in (("viewer", 403), ("south", 404)):
        client = signed_in(app, name)
        assert client.get(numbers, headers=HTML).status_code == status
        assert post(client, numbers, do="delete").status_code == status


def test_a_source_whose_settings_are_wrong_is_refused_with_what_was_typed(
    admin: FlaskClient,
) -> None:
    answer = post(
        admin, "/routing/rules/crosswalks/new", name="ris", kind="csv", url="ftp://ris/a.csv"
    )
    assert answer.status_code == 400
    assert "key_column" in answer.text
    assert "ftp://ris/a.csv" in answer.text


def test_the_rows_of_a_table_that_is_fetched_are_changed_at_its_source(
    admin: FlaskClient, database: Database
) -> None:
    form = {"url": "https://ris.example/a.csv", "key_column": "old"}
    path = post(admin, "/routing/rules/crosswalks/new", name="ris", kind="csv", **form).location
    assert "Save and fetch" in page_of(admin, path)
    assert post(admin, path, do="set", key="1", column="new", cell="2").status_code == 409
    assert [task for task, _ in jobs_of(database)] == ["sync_crosswalk"]
