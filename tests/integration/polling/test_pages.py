"""Polling's pages, by role."""

from __future__ import annotations

import re

import pytest
from flask import Flask

from extensions.polling.sources import list_sources
from gateway.db import Database
from tests.integration.portal.conftest import HTML, app, signed_in

__all__ = ["app"]  # the fixture

FORM = {"name": "Clinic", "kind": "dicomweb", "url": "http://127.0.0.1:9/dicom-web"}


def create(app: Flask, **fields: str) -> int:
    answer = signed_in(app, "admin").post("/polling/sources/new", data=FORM | fields, headers=HTML)
    return answer.status_code


def test_a_source_is_made_changed_paused_and_deleted_in_the_portal(
    app: Flask, database: Database
) -> None:
    admin = signed_in(app, "admin")
    assert create(app, token="s3cret", interval_s="60") == 303
    page = admin.get("/polling/sources", headers=HTML).text
    number = int(re.findall(r"/polling/sources/(\d+)", page)[0])
    form = admin.get(f"/polling/sources/{number}", headers=HTML).text
    assert 'value="60"' in form
    assert "s3cret" not in form
    change = FORM | {"name": "Renamed", "interval_s": "120"}
    assert admin.post(f"/polling/sources/{number}", data=change, headers=HTML).status_code == 303
    switched = admin.post(f"/polling/sources/{number}/switch", data={"enabled": "no"}, headers=HTML)
    assert switched.status_code == 303
    page = admin.get("/polling/sources", headers=HTML).text
    assert "Renamed" in page
    assert "paused" in page
    admin.post(f"/polling/sources/{number}/delete", headers=HTML)
    with database.tenant_session("north") as session:
        assert list_sources(session) == []


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"url": "nowhere"}, "url: must be like"),
        ({"interval_s": "often"}, "interval_s:"),
        ({"filter": "Modality=CT"}, "use ModalitiesInStudy"),
        ({"name": ""}, "name: 1 to 64"),
    ],
)
def test_what_is_wrong_stands_above_the_form_which_keeps_what_was_typed(
    app: Flask, fields: dict[str, str], told: str
) -> None:
    answer = signed_in(app, "admin").post(
        "/polling/sources/new", data=FORM | {"window": "22:00-06:00"} | fields, headers=HTML
    )
    assert answer.status_code == 400
    assert told in answer.text
    assert "22:00-06:00" in answer.text


@pytest.mark.parametrize("kind", ["dicomweb", "dimse", "folder"])
def test_there_is_a_form_for_each_kind(app: Flask, kind: str) -> None:
    answer = signed_in(app, "admin").get(f"/polling/sources/new?kind={kind}", headers=HTML)
    assert answer.status_code == 200
    assert f'name="kind" value="{kind}"' in answer.text


def test_a_viewer_sees_sources_and_changes_none(app: Flask) -> None:
    create(app)
    viewer = signed_in(app, "viewer")
    page = viewer.get("/polling/sources", headers=HTML)
    assert "Clinic" in page.text
    assert "Run now" not in page.text
    assert viewer.get("/polling/sources/new", headers=HTML).status_code == 403
    assert viewer.post("/polling/sources/new", data=FORM, headers=HTML).status_code == 403


def test_another_tenants_source_does_not_exist(app: Flask, database: Database) -> None:
    create(app)
    with database.tenant_session("north") as session:
        (source,) = list_sources(session)
    south = signed_in(app, "south")
    assert "Clinic" not in south.get("/polling/sources", headers=HTML).text
    place = f"/polling/sources/{source.source_id}"
    assert south.get(place, headers=HTML).status_code == 404
    for verb in ("", "/test", "/run", "/switch", "/delete"):
        assert south.post(place + verb, data=FORM, headers=HTML).status_code == 404


def test_the_connection_test_names_what_failed(app: Flask, database: Database) -> None:
    create(app)
    with database.tenant_session("north") as session:
        (source,) = list_sources(session)
    answer = signed_in(app, "admin").post(
        f"/polling/sources/{source.source_id}/test", headers=HTML | {"HX-Request": "true"}
    )
    assert "TCP connection to 127.0.0.1:9" in answer.text
    assert "failed" in answer.text
