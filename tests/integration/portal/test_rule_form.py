"""The form of a rule: checked while it is filled in, and tried before it is saved."""

from __future__ import annotations

import html
from io import BytesIO
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from extensions.routing import destinations, rulebook, tryouts
from gateway.db import Database
from tests.integration.portal.conftest import HTML, signed_in
from tests.integration.routing.conftest import make_file
from tests.routing_rules import add_rule

FORM: dict[str, Any] = {
    "name": "MR", "trigger": "study stable", "shape": "all", "destination": "archive",
    "tag": ["", "Modality"], "operator": ["equals", "equals"], "value": ["", "MR"],
    "enabled": "yes",
}  # fmt: skip


@pytest.fixture
def admin(app: Flask, database: Database) -> FlaskClient:
    """An admin of north, which has a destination and a rule."""
    with database.tenant_session("north") as session:
        destinations.create_destination(
            session,
            name="archive",
            kind="dimse",
            settings={"host": "127.0.0.1", "port": 104, "called_aet": "A"},
            actor="test",
        )
        add_rule(session, "First", "archive")
    return signed_in(app, "admin")


def checked(client: FlaskClient, **changed: Any) -> str:
    answer = client.post("/routing/rules/check-form", data=FORM | changed, headers=HTML)
    assert answer.status_code == 200, answer.text
    return html.unescape(answer.text)


def test_what_the_form_says_is_told_in_words(admin: FlaskClient) -> None:
    said = checked(admin)
    assert "When a study is stable and one series has Modality equals MR" in said
    assert "forward to archive" in said


def test_what_is_wrong_names_its_field_in_the_words_of_the_text(admin: FlaskClient) -> None:
    said = checked(admin, tag=["", "Modalit"])
    text = "rules:\n- name: MR\n  when: {field: Modalit, operator: equals, value: MR}\n"
    text += "  actions:\n  - forward: {to: archive}\n"
    of_text = admin.post("/routing/rules/check", data={"text": text}, headers=HTML).text
    told = "tag 'Modalit' is unknown; did you mean Modality?"
    assert told in said
    assert told in html.unescape(of_text)
    assert 'data-field="tag" data-row="1"' in said


def test_the_name_of_another_rule_is_wrong_and_its_own_is_not(admin: FlaskClient) -> None:
    assert 'data-field="name"' in checked(admin, name="First")
    assert "No mistake" in checked(admin, name="First", rule_name="First")


def test_checking_keeps_nothing_and_is_an_admins(
    app: Flask, admin: FlaskClient, database: Database
) -> None:
    checked(admin)
    viewer = signed_in(app, "viewer")
    path = "/routing/rules/check-form"
    assert viewer.post(path, data=FORM, headers=HTML).status_code == 403
    with database.tenant_session("north") as session:
        assert [rule.name for rule in rulebook.live(session).rules] == ["First"]


def test_a_rule_is_tried_on_studies_from_its_form_among_the_others(
    admin: FlaskClient, database: Database
) -> None:
    started = admin.post("/routing/rules/tryouts", data=FORM | {"studies": "7"}, headers=HTML)
    assert started.status_code == 303
    with database.tenant_session("north") as session:
        tryout = tryouts.get(session, int(started.location.rpartition("/")[2]))
    assert [rule["name"] for rule in tryout.rules] == ["First", "MR"]
    assert tryout.most_studies == 7


def test_a_rule_is_tried_on_a_file_from_its_form(admin: FlaskClient) -> None:
    file = (BytesIO(make_file(1, Modality="MR")), "a.dcm")
    answer = admin.post("/routing/rules/try-file", data=FORM | {"dicom": file}, headers=HTML)
    assert answer.status_code == 200
    page = " ".join(answer.text.split())
    assert '<h2>MR</h2><div class="buttons"><span class="soft">not in the live rules' in page
    assert "{field: Modality, operator: equals, value: MR}" in page


@pytest.mark.parametrize("path", ["/routing/rules/tryouts", "/routing/rules/try-file"])
def test_a_form_that_is_wrong_comes_back_as_it_was(admin: FlaskClient, path: str) -> None:
    form = FORM | {"tag": ["", "Modalit"], "rule_name": "First"}
    answer = admin.post(path, data=form, headers=HTML)
    assert answer.status_code == 400
    page = html.unescape(answer.text)
    assert page.count("did you mean Modality?") >= 2
    assert 'value="Modalit"' in page
    assert 'name="rule_name" value="First"' in page
    assert 'id="editor" method="post" action="/routing/rules/named/First"' in page
