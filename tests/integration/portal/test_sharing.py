"""Sharing in the portal: who shares, what the receiver sees, and what it cannot do."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from flask import Flask

from gateway.db import Database
from tests.integration.portal.conftest import HTML, UID, signed_in

JSON = {"Accept": "application/json"}


def address_of(app: Flask, name: str) -> str:
    """The sharing address that an admin's page shows."""
    page = signed_in(app, name).get("/shared", headers=HTML).text
    return page.partition('id="sharing-address" class="secret">')[2].partition("<")[0]


def form(app: Flask, whose: str = "south") -> dict[str, str]:
    return {"address": address_of(app, whose), "lifetime": "7"}


def shared(app: Flask) -> int:
    """North shares its study with south; the number of the share."""
    admin = signed_in(app, "admin")
    assert admin.post(f"/studies/{UID}/shares", data=form(app)).status_code == 303
    database: Database = app.extensions["argonath"].database
    with database.system_session("test") as session:
        row = session.execute("SELECT max(share_id) AS number FROM study_share").fetchone()
    assert row is not None
    return int(row["number"])


def test_a_shared_study_opens_for_the_receiver_as_read_only_with_its_end(app: Flask) -> None:
    shared(app)
    south = signed_in(app, "south")
    assert "1 study shared with us" in south.get("/studies", headers=HTML).text
    assert UID in south.get("/shared", headers=HTML).text
    page = south.get(f"/studies/{UID}", headers=HTML)
    assert page.status_code == 200
    assert "tenant north" in page.text
    assert "read-only" in page.text
    assert "/shares" not in page.text


def test_the_owner_sees_with_whom_how_often_and_ends_it(app: Flask) -> None:
    number = shared(app)
    south, admin = signed_in(app, "south"), signed_in(app, "admin")
    south.get(f"/studies/{UID}", headers=HTML)
    page = admin.get(f"/studies/{UID}", headers=HTML).text
    assert "tenant south" in page
    assert '<td class="number">1</td>' in page
    assert "open-share" in page
    assert admin.post(f"/shares/{number}/revoke").status_code == 303
    assert south.get(f"/studies/{UID}", headers=JSON).status_code == 404
    assert UID not in south.get("/shared", headers=HTML).text


def test_after_its_end_the_study_is_answered_as_one_that_never_was(app: Flask) -> None:
    signed_in(app, "admin").post(f"/shares/{shared(app)}/revoke")
    south = signed_in(app, "south")
    theirs = south.get(f"/studies/{UID}", headers=JSON)
    nobodys = south.get("/studies/1.2.3", headers=JSON)
    assert theirs.status_code == nobodys.status_code == 404
    told = [answer.get_json() | {"correlation": ""} for answer in (theirs, nobodys)]
    assert str(told[0]).replace(UID, "1.2.3") == str(told[1])


def test_the_receiver_can_neither_share_the_study_on_nor_end_the_share(app: Flask) -> None:
    number = shared(app)
    south = signed_in(app, "south")
    theirs = form(app, "admin")
    assert south.post(f"/studies/{UID}/shares", data=theirs, headers=JSON).status_code == 404
    assert south.post(f"/shares/{number}/revoke", headers=JSON).status_code == 404
    assert UID in south.get("/shared", headers=HTML).text


def test_a_viewer_can_neither_share_nor_see_with_whom(app: Flask) -> None:
    number = shared(app)
    viewer = signed_in(app, "viewer")
    assert viewer.post(f"/studies/{UID}/shares", data=form(app), headers=JSON).status_code == 403
    assert viewer.post(f"/shares/{number}/revoke", headers=JSON).status_code == 403
    assert "tenant south" not in viewer.get(f"/studies/{UID}", headers=HTML).text


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"address": "south"}, 404),
        ({"address": "nowhere"}, 404),
        ({"address": ""}, 404),
        ({"lifetime": "0"}, 400),
        ({"lifetime": "9999"}, 400),
    ],
)
def test_what_cannot_be_shared_is_told_and_recorded(
    app: Flask, change: dict[str, str], status: int
) -> None:
    admin = signed_in(app, "admin")
    answer = admin.post(f"/studies/{UID}/shares", data=form(app) | change, headers=JSON)
    assert answer.status_code == status
    page = admin.get(f"/studies/{UID}", headers=HTML).text
    assert "share-study" in page
    assert "denied" in page
    assert "shared with us" not in signed_in(app, "south").get("/studies", headers=HTML).text


def test_a_study_is_not_shared_with_its_own_tenant(app: Flask) -> None:
    admin, own = signed_in(app, "admin"), form(app, "admin")
    answer = admin.post(f"/studies/{UID}/shares", data=own, headers=JSON)
    assert (answer.status_code, "your own" in answer.json["message"]) == (400, True)


def test_admins_see_the_own_sharing_address_and_renew_it_and_viewers_do_not(app: Flask) -> None:
    before, admin, viewer = (
        address_of(app, "admin"),
        signed_in(app, "admin"),
        signed_in(app, "viewer"),
    )
    assert re.fullmatch(r"[0-9a-f-]{36}", before)
    assert before not in viewer.get("/shared", headers=HTML).text
    assert viewer.post("/shared/address", headers=JSON).status_code == 403
    assert address_of(app, "admin") == before
    assert admin.post("/shared/address").status_code == 303
    assert address_of(app, "admin") not in (before, "")
    assert "renew-sharing-address" in admin.get("/audit", headers=HTML).text
    refused = signed_in(app, "south").post(
        f"/studies/{UID}/shares", data={"address": before, "lifetime": "7"}, headers=JSON
    )
    assert refused.json["error"] == "UnknownAddress"


def test_the_lists_that_show_patients_are_audited_and_their_refreshes_are_not(
    app: Flask,
) -> None:
    south = signed_in(app, "south")
    for path in ("/", "/shared"):
        south.get(path, headers=HTML)
    south.get("/", headers=HTML | {"HX-Request": "true"})
    database: Database = app.extensions["argonath"].database
    with database.tenant_session("south") as session:
        rows = session.execute(
            "SELECT actor, resource, detail FROM audit WHERE action = 'read-study' "
            "ORDER BY audit_id"
        ).fetchall()
    assert [tuple(row.values()) for row in rows] == [
        ("south@example.org", "search", "portal: overview"),
        ("south@example.org", "search", "portal: shared with us"),
    ]


def made_link(app: Flask, *, code: str = "no") -> tuple[str, str]:
    """The path of a new link, and its code."""
    form = {"lifetime": "7", "code": code}
    page = signed_in(app, "admin").post(f"/studies/{UID}/links", data=form, headers=HTML)
    told = re.findall(r'<code class="secret" id="(?:link|code)">([^<]+)</code>', page.text)
    return urlsplit(told[0]).path, told[1] if len(told) > 1 else ""


def test_a_link_is_shown_once_and_the_page_of_the_study_counts_its_views(app: Flask) -> None:
    link, _ = made_link(app)
    app.test_client().post(link)
    page = signed_in(app, "admin").get(f"/studies/{UID}", headers=HTML).text
    assert link.rpartition("/")[2] not in page
    assert '<td class="number">1</td>' in page


def test_looking_at_a_link_without_opening_it_is_no_view(app: Flask) -> None:
    link, _ = made_link(app)
    assert "Eve" not in app.test_client().get(link, headers=HTML).text
    page = signed_in(app, "admin").get(f"/studies/{UID}", headers=HTML).text
    assert '<td class="number">0</td>' in page


def test_whoever_opens_a_link_gets_a_cookie_for_its_page_and_for_no_other(app: Flask) -> None:
    link, _ = made_link(app)
    visitor = app.test_client()
    opened = visitor.post(link)
    assert (opened.status_code, opened.location) == (303, "/s/")
    cookie = opened.headers["Set-Cookie"]
    assert cookie.startswith("argonath_link=")
    assert "HttpOnly" in cookie
    page = visitor.get("/s/", headers=HTML)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;, Eve" in page.text
    for path in ("/", "/studies", f"/studies/{UID}", "/shared", "/keys", "/audit", "/enter"):
        assert visitor.get(path, headers=JSON).status_code == 401, path


def test_a_link_that_is_revoked_unknown_or_has_no_visit_is_not_found(app: Flask) -> None:
    link, _ = made_link(app)
    visitor, admin = app.test_client(), signed_in(app, "admin")
    visitor.post(link)
    page = admin.get(f"/studies/{UID}", headers=HTML).text
    number = page.partition('action="/links/')[2].partition("/")[0]
    assert admin.post(f"/links/{number}/revoke").status_code == 303
    for path in (link, "/s/", "/s/unknown"):
        assert visitor.get(path, headers=JSON).status_code == 404, path
    assert visitor.post(link, headers=JSON).status_code == 404
    assert app.test_client().get("/s/", headers=JSON).status_code == 404


def test_a_wrong_code_is_told_on_the_form_and_the_right_one_opens(app: Flask) -> None:
    link, code = made_link(app, code="yes")
    visitor = app.test_client()
    again = visitor.post(link, data={"code": "wrong"}, headers=HTML)
    assert again.status_code == 401
    assert "does not open the link" in again.text
    assert visitor.post(link, data={"code": f" {code} "}).status_code == 303


def test_another_tenant_and_a_viewer_make_no_link(app: Flask) -> None:
    form = {"lifetime": "7", "code": "no"}
    for name, status in (("south", 404), ("viewer", 403)):
        answer = signed_in(app, name).post(f"/studies/{UID}/links", data=form, headers=JSON)
        assert answer.status_code == status
