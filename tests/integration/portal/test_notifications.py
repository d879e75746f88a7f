"""The portal's page of webhooks and of the alert."""

from __future__ import annotations

import re

import pytest
from flask import Flask

from gateway.db import Database
from tests.integration.portal.conftest import HTML, signed_in

NEW = {"name": "RIS", "url": "https://ris.example/studies"}


def test_a_webhook_s_secret_is_shown_once_and_it_can_be_deleted(app: Flask) -> None:
    admin = signed_in(app, "admin")
    page = admin.post("/routing/webhooks/new", data=NEW, headers=HTML)
    found = re.search(r'id="secret">([\w-]{40,})<', page.text)
    assert found is not None
    page = admin.get("/routing/notifications", headers=HTML)
    assert "https://ris.example/studies" in page.text
    assert found[1] not in page.text
    delete = re.search(r"/routing/webhooks/\d+/delete", page.text)
    assert delete is not None
    assert signed_in(app, "south").post(delete[0], headers=HTML).status_code == 404
    assert admin.post(delete[0], headers=HTML).status_code == 303
    assert "ris.example/studies<" not in admin.get("/routing/notifications", headers=HTML).text


@pytest.mark.parametrize("url", ["ris.example", "ftp://ris.example", "https://u:p@ris.example"])
def test_a_wrong_address_is_refused(app: Flask, url: str) -> None:
    page = signed_in(app, "admin").post(
        "/routing/webhooks/new", data=NEW | {"url": url}, headers=HTML
    )
    assert page.status_code == 400
    assert "url: must" in page.text


def test_the_alert_is_kept_and_has_a_job(app: Flask, database: Database) -> None:
    admin = signed_in(app, "admin")
    answer = admin.post("/routing/notifications/alert", data={"minutes": "30"}, headers=HTML)
    assert answer.status_code == 303
    assert 'value="30"' in admin.get("/routing/notifications", headers=HTML).text
    with database.tenant_session("north") as session:
        jobs = session.execute("SELECT task FROM job WHERE state = 'waiting'").fetchall()
    assert [job["task"] for job in jobs] == ["look_for_stuck"]
    for wrong in ("-1", "x", "10081"):
        page = admin.post("/routing/notifications/alert", data={"minutes": wrong}, headers=HTML)
        assert page.status_code == 400


def test_the_alert_calls_a_webhook_of_the_list_which_then_stays(app: Flask) -> None:
    admin = signed_in(app, "admin")
    page = admin.post("/routing/webhooks/new", data=NEW, headers=HTML)
    alert = {"minutes": "30", "webhook": "RIS"}
    answer = admin.post("/routing/notifications/alert", data=alert, headers=HTML)
    assert answer.status_code == 303
    assert "<option selected>RIS</option>" in admin.get("/routing/notifications").text
    delete = re.search(r"/routing/webhooks/\d+/delete", page.text)
    assert delete is not None
    page = admin.post(delete[0], headers=HTML)
    assert page.status_code == 409
    assert "change the alert" in page.text
    other = admin.post("/routing/notifications/alert", data=alert | {"webhook": "x"}, headers=HTML)
    assert other.status_code == 400


def test_a_viewer_neither_sees_nor_changes_them(app: Flask) -> None:
    viewer = signed_in(app, "viewer")
    assert viewer.get("/routing/notifications", headers=HTML).status_code == 403
    assert viewer.post("/routing/webhooks/new", data=NEW, headers=HTML).status_code == 403
