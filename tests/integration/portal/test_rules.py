"""Rules in the portal: as text, compared, by version, and by programs with a key."""

from __future__ import annotations

import html
import re
from io import BytesIO

import pytest
from flask import Flask
from flask.testing import FlaskClient

from extensions.routing import destinations, rulebook
from gateway import identity
from gateway.db import Database
from gateway.identity import Role
from tests.integration.portal.conftest import HTML, signed_in
from tests.routing_rules import add_rule

TEXT = """\
rules:
- name: Chest CT
  when:
    all:
    - {field: Modality, operator: equals, value: CT}
    - any:
      - {field: BodyPartExamined, operator: equals, value: CHEST}
      - {field: StudyDescription, operator: contains, value: thorax}
  actions:
  - label: {add: [chest]}
  - forward: {to: archive}
"""
WRONG = TEXT.replace("BodyPartExamined", "BodyPartExamind")


@pytest.fixture
def admin(app: Flask, database: Database) -> FlaskClient:
    """An admin of north, which has a destination."""
    with database.tenant_session("north") as session:
        destinations.create_destination(
            session,
            name="archive",
            kind="dimse",
            settings={"host": "127.0.0.1", "port": 104, "called_aet": "A"},
            actor="test",
        )
    return signed_in(app, "admin")


def live(database: Database, tenant: str = "north") -> rulebook.Rulebook:
    with database.tenant_session(tenant) as session:
        return rulebook.live(session)


def page_of(client: FlaskClient, path: str) -> str:
    answer = client.get(path, headers=HTML)
    assert answer.status_code == 200, answer.text
    return answer.text


def test_rules_written_as_text_are_compared_and_then_saved(
    admin: FlaskClient, database: Database
) -> None:
    compared = admin.post(
        "/routing/rules/text", data={"text": TEXT, "based_on": 0, "then": "compare"}, headers=HTML
    )
    assert compared.status_code == 200
    assert "added" in compared.text
    assert "Save as version 1" in compared.text
    assert live(database).version == 0
    form = {"text": TEXT, "based_on": 0, "then": "save", "note": "Chest first"}
    assert admin.post("/routing/rules/text", data=form, headers=HTML).status_code == 303
    book = live(database)
    assert [rule.name for rule in book.rules] == ["Chest CT"]
    assert (book.author, book.note) == ("admin@example.org", "Chest first")
    assert "nested" not in page_of(admin, "/routing/rules")
    assert "thorax" in page_of(admin, "/routing/rules/text/named/Chest%20CT")


def test_a_rule_that_the_form_cannot_show_opens_as_text(
    admin: FlaskClient, database: Database
) -> None:
    with database.tenant_session("north") as session:
        add_rule(session, "A & B", "archive", actions=[{"hold": {"reason": "Look."}}])
    answer = admin.get("/routing/rules/named/A%20%26%20B", headers=HTML, follow_redirects=True)
    assert answer.request.path == "/routing/rules/text/named/A & B"
    assert "hold: {reason: Look.}" in answer.text


def test_what_is_wrong_is_said_at_its_line_and_nothing_is_kept(
    admin: FlaskClient, database: Database
) -> None:
    said = admin.post("/routing/rules/check", data={"text": WRONG}, headers=HTML).text
    assert 'data-line="7"' in said
    assert "did you mean BodyPartExamined?" in said
    answer = admin.post(
        "/routing/rules/text", data={"text": WRONG, "based_on": 0, "then": "save"}, headers=HTML
    )
    assert answer.status_code == 400
    assert "BodyPartExamind" in answer.text
    assert live(database).version == 0


def test_what_the_text_says_is_told_in_words_and_an_unknown_destination_is_named(
    admin: FlaskClient,
) -> None:
    text = TEXT.replace("to: archive", "to: elsewhere")
    said = admin.post("/routing/rules/check", data={"text": text}, headers=HTML).text
    assert (
        "Modality equals CT and (BodyPartExamined equals CHEST or StudyDescription contains thorax)"
        in said
    )
    assert "forward to elsewhere" in said
    assert "there is no destination &#39;elsewhere&#39;" in said


@pytest.mark.parametrize(
    ("action", "cure"),
    [
        ("forward: {to: Archive}", "did you mean 'archive'?"),
        ("notify: {webhook: alarm}", "there is no webhook 'alarm'; add it first"),
        ("crosswalk: {table: er, look_up: PatientID, sets: {new: AccessionNumber}}",
         "there is no crosswalk table 'er'; add it first"),
        ("crosswalk: {table: known, look_up: PatientID, sets: {new: AccessionNumber}}",
         "the crosswalk table 'known' has no column 'new'"),
        ("anonymize: {project: NONE}", "there is no research project 'NONE'; create it first"),
    ],
)  # fmt: skip
def test_a_rule_that_names_what_is_not_there_is_told_of_and_does_not_go_live(
    admin: FlaskClient, database: Database, action: str, cure: str
) -> None:
    form = {"name": "known", "kind": "table"}
    assert admin.post("/routing/rules/crosswalks/new", data=form).status_code == 303
    row = {"do": "set", "key": "P1", "column": "old", "cell": "A1"}
    assert admin.post("/routing/rules/crosswalks/known", data=row).status_code == 303
    text = TEXT.replace("forward: {to: archive}", action)
    said = admin.post("/routing/rules/check", data={"text": text}, headers=HTML).text
    refused = admin.post(
        "/routing/rules/text", data={"text": text, "based_on": 0, "then": "save"}, headers=HTML
    )
    assert refused.status_code == 400
    for page in (said, refused.text):
        assert cure in html.unescape(page)
    assert live(database).version == 0
    off = text.replace("- name: Chest CT", "- name: Chest CT\n  enabled: false")
    form = {"text": off, "based_on": 0, "then": "save"}
    assert admin.post("/routing/rules/text", data=form, headers=HTML).status_code == 303


def test_a_crosswalk_table_that_a_rule_uses_is_not_deleted(
    admin: FlaskClient, database: Database
) -> None:
    admin.post("/routing/rules/crosswalks/new", data={"name": "known", "kind": "table"})
    action = {"table": "known", "look_up": "PatientID", "sets": {"new": "AccessionNumber"}}
    with database.tenant_session("north") as session:
        add_rule(session, "Chest", "", actions=[{"crosswalk": action}, {"hold": {"reason": "x"}}])
    page = admin.post("/routing/rules/crosswalks/known", data={"do": "delete"}, headers=HTML)
    assert page.status_code == 409
    assert "It is used by rule 'Chest'" in html.unescape(page.text)
    assert "known" in page_of(admin, "/routing/rules/crosswalks")


def test_a_text_that_is_older_than_the_live_rules_is_compared_with_them(
    admin: FlaskClient, database: Database
) -> None:
    with database.tenant_session("north") as session:
        add_rule(session, "Meanwhile", "archive")
    answer = admin.post(
        "/routing/rules/text", data={"text": TEXT, "based_on": 0, "then": "save"}, headers=HTML
    )
    assert answer.status_code == 409
    assert "removed" in answer.text
    assert "Meanwhile" in answer.text
    assert [rule.name for rule in live(database).rules] == ["Meanwhile"]


@pytest.mark.parametrize("path", ["", "/new", "/named/A%20%26%20B"])
def test_the_text_is_sent_back_to_what_it_is_of(
    admin: FlaskClient, database: Database, path: str
) -> None:
    with database.tenant_session("north") as session:
        add_rule(session, "A & B", "archive")
    page = page_of(admin, f"/routing/rules/text{path}")
    assert f'id="editor" method="post" action="/routing/rules/text{path}"' in page


def test_one_rule_is_edited_and_the_others_stay(admin: FlaskClient, database: Database) -> None:
    with database.tenant_session("north") as session:
        for name in ("First", "Second"):
            add_rule(session, name, "archive")
    form = {"text": TEXT, "based_on": 2, "then": "save"}
    admin.post("/routing/rules/text/named/First", data=form, headers=HTML)
    assert [rule.name for rule in live(database).rules] == ["Chest CT", "Second"]
    two = TEXT + TEXT.removeprefix("rules:\n").replace("Chest CT", "Another")
    form = {"text": two, "based_on": 3, "then": "save"}
    answer = admin.post("/routing/rules/text/named/Second", data=form, headers=HTML)
    assert answer.status_code == 400
    assert "2 rules where one is edited" in answer.text


def test_the_form_goes_over_into_text(admin: FlaskClient) -> None:
    form = {"name": "MR", "tag": "Modality", "operator": "equals", "value": "MR"}
    form |= {"destination": "archive", "enabled": "yes", "then": "text"}
    page = admin.post("/routing/rules/new", data=form, headers=HTML).text
    assert "{field: Modality, operator: equals, value: MR}" in page
    assert 'id="editor" method="post" action="/routing/rules/text/new"' in page


def test_a_file_is_imported_after_its_difference_was_shown(admin: FlaskClient) -> None:
    form = {"then": "compare", "based_on": "0", "file": (BytesIO(TEXT.encode()), "rules.yaml")}
    page = admin.post("/routing/rules/text", data=form, headers=HTML).text
    assert "Save as version 1" in page
    assert "Chest CT" in page


def test_versions_are_compared_and_rolled_back(admin: FlaskClient, database: Database) -> None:
    with database.tenant_session("north") as session:
        add_rule(session, "First", "archive")
        add_rule(session, "Second", "archive")
    page = page_of(admin, "/routing/rules/history/1")
    assert re.search(r"added</span> <strong>Second", page)
    stale = admin.post("/routing/rules/history/1/restore", data={"based_on": 1}, headers=HTML)
    assert stale.status_code == 409
    admin.post("/routing/rules/history/1/restore", data={"based_on": 2}, headers=HTML)
    book = live(database)
    assert (book.version, [rule.name for rule in book.rules]) == (3, ["First"])
    history = page_of(admin, "/routing/rules/history")
    assert "Back to version 1" in history
    assert "admin@example.org" in history


def test_another_tenant_sees_none_of_it(app: Flask, admin: FlaskClient, database: Database) -> None:
    with database.tenant_session("north") as session:
        add_rule(session, "Secret", "archive")
    south = signed_in(app, "south")
    assert south.get("/routing/rules/history/1", headers=HTML).status_code == 404
    assert "Secret" not in page_of(south, "/routing/rules/history")
    assert "Secret" not in south.get("/routing/rules.yaml").text


class Program:
    """A script with a key."""

    def __init__(self, app: Flask, database: Database, role: Role) -> None:
        with database.system_session("test key") as session:
            key = identity.create_api_key(session, "north", role, label="git")
        self.http = app.test_client()
        self.head = {"Authorization": f"Bearer {key}"}


def test_a_program_reads_and_replaces_the_rules_with_a_key(
    app: Flask, admin: FlaskClient, database: Database
) -> None:
    app.config["WTF_CSRF_ENABLED"] = True
    it = Program(app, database, Role.ADMIN)
    before = it.http.get("/routing/rules.yaml", headers=it.head)
    head = it.head | {"If-Match": before.headers["ETag"]}
    dry = it.http.put("/routing/rules.yaml?dry_run=yes", data=TEXT, headers=head)
    assert dry.json is not None
    assert [change["name"] for change in dry.json["changes"]] == ["Chest CT"]
    assert live(database).version == 0
    done = it.http.put("/routing/rules.yaml?note=from+git", data=TEXT, headers=head)
    assert (done.status_code, done.headers["ETag"]) == (200, '"1"')
    assert live(database).note == "from git"
    after = it.http.get("/routing/rules.yaml", headers=it.head)
    again = it.http.put(
        "/routing/rules.yaml",
        data=after.text,
        headers=it.head | {"If-Match": after.headers["ETag"]},
    )
    assert again.json == {"version": 1, "changes": []}


def test_a_program_is_told_what_is_wrong_and_where(
    app: Flask, admin: FlaskClient, database: Database
) -> None:
    it = Program(app, database, Role.ADMIN)
    answer = it.http.put("/routing/rules.yaml", data=WRONG, headers=it.head | {"If-Match": "*"})
    assert answer.status_code == 400
    assert answer.json is not None
    (complaint,) = answer.json["complaints"]
    assert complaint["line"] == 7
    assert complaint["place"] == "rules[0].when.all[1].any[0].field"


@pytest.mark.parametrize(
    ("match", "status"), [(None, 428), ('"7"', 412), ("0", 200), ('"0"', 200), ("*", 200)]
)
def test_a_program_must_know_what_it_replaces(
    app: Flask, admin: FlaskClient, database: Database, match: str | None, status: int
) -> None:
    it = Program(app, database, Role.ADMIN)
    head = it.head | ({"If-Match": match} if match else {})
    assert it.http.put("/routing/rules.yaml", data=TEXT, headers=head).status_code == status


def test_only_an_admins_key_changes_rules_and_no_browsers_session_does(
    app: Flask, admin: FlaskClient, database: Database
) -> None:
    member = Program(app, database, Role.MEMBER)
    head = {"If-Match": "*"}
    answer = member.http.put("/routing/rules.yaml", data=TEXT, headers=member.head | head)
    assert answer.status_code == 403
    assert admin.put("/routing/rules.yaml", data=TEXT, headers=head).status_code == 403
    assert live(database).version == 0
