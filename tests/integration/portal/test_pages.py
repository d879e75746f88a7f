"""The portal's pages against a real database: who sees what, and what each form does."""

from __future__ import annotations

import pytest
from flask import Flask

from gateway import identity, results
from gateway.db import Database
from gateway.errors import NotAuthenticated
from gateway.identity import Role
from tests.integration.portal.conftest import HTML, PASSWORD, UID, signed_in
from webapp import strangers


def test_signing_in_gives_a_cookie_that_scripts_and_other_sites_cannot_use(app: Flask) -> None:
    form = {"email": "ADMIN@example.org ", "password": PASSWORD, "next": "/keys"}
    answer = app.test_client().post("/sign-in", data=form)
    assert answer.location == "/keys"
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("argonath_session=")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


def test_a_wrong_password_is_told_and_after_some_the_next_must_wait(app: Flask) -> None:
    client = app.test_client()
    form = {"email": "admin@example.org", "password": "wrong"}
    for _ in range(5):
        answer = client.post("/sign-in", data=form, headers=HTML)
        assert answer.status_code == 401
        assert "E-mail or password is wrong." in answer.text
    form["password"] = PASSWORD
    assert client.post("/sign-in", data=form, headers=HTML).status_code == 429


def test_after_signing_out_the_session_is_worthless(app: Flask) -> None:
    client = signed_in(app, "admin")
    cookie = client.get_cookie("argonath_session")
    assert cookie is not None
    client.post("/sign-out")
    client.set_cookie("argonath_session", cookie.value)
    assert client.get("/studies").status_code == 401


def test_a_name_that_is_a_script_is_text(app: Flask) -> None:
    for path in ("/", "/studies", f"/studies/{UID}"):
        page = signed_in(app, "admin").get(path, headers=HTML)
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;, Eve" in page.text


def test_a_study_s_page_shows_what_extensions_have_found(app: Flask, database: Database) -> None:
    with database.tenant_session("north") as session:
        results.note(session, UID, "aorta_cm", [4.9, 5.6], extension="measuring")
        results.note(session, UID, "impression", "<script>alert(2)</script>", extension="reading")
    page = signed_in(app, "admin").get(f"/studies/{UID}", headers=HTML).text
    assert "<td>aorta_cm</td><td>4.9, 5.6</td><td>measuring</td>" in page
    assert "<td>&lt;script&gt;alert(2)&lt;/script&gt;</td>" in page


def test_another_tenant_s_study_does_not_exist(app: Flask) -> None:
    south = signed_in(app, "south")
    assert "Eve" not in south.get("/studies", headers=HTML).text
    theirs = south.get(f"/studies/{UID}", headers={"Accept": "application/json"})
    nobodys = south.get("/studies/1.2.3", headers={"Accept": "application/json"})
    assert theirs.status_code == nobodys.status_code == 404
    bodies = [answer.get_json() | {"correlation": "#"} for answer in (theirs, nobodys)]
    assert str(bodies[0]).replace(UID, "") == str(bodies[1]).replace("1.2.3", "")


def test_a_page_that_refreshes_itself_is_a_read_once_in_an_hour(
    app: Flask, database: Database
) -> None:
    refreshed = HTML | {"HX-Request": "true"}
    for path in (f"/studies/{UID}", "/studies"):
        signed_in(app, "admin").get(path, headers=refreshed)  # claimed, by a program, say
        for headers in (refreshed, refreshed, HTML):
            signed_in(app, "admin").get(path, headers=headers)
    with database.tenant_session("north") as session:
        rows = session.execute(
            "SELECT resource FROM audit WHERE action = 'read-study' ORDER BY audit_id"
        ).fetchall()
    assert [row["resource"] for row in rows] == [f"study {UID}"] * 2 + ["search"] * 2


def test_a_look_at_another_tenant_s_study_is_a_denial_in_the_audit_as_at_none(
    app: Flask, database: Database
) -> None:
    south = signed_in(app, "south")
    for uid in (UID, "1.2.3"):
        south.get(f"/studies/{uid}")
    with database.tenant_session("south") as session:
        rows = session.execute(
            "SELECT resource, verdict, detail FROM audit WHERE action = 'read-study' "
            "ORDER BY audit_id"
        ).fetchall()
    assert [tuple(row.values()) for row in rows] == [
        (f"study {uid}", "denied", "portal") for uid in (UID, "1.2.3")
    ]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("patient=eve", True),
        ("patient=P1", True),
        ("patient=e*e", True),
        ("patient=%25", False),
        ("patient=bob", False),
        ("since=2026-01-02&until=2026-01-02", True),
        ("since=2026-01-03", False),
        ("modality=CT", False),
    ],
)
def test_the_list_finds_by_name_id_and_date(app: Flask, search: str, found: bool) -> None:
    page = signed_in(app, "admin").get(f"/studies?{search}", headers=HTML)
    assert (UID in page.text) is found


def test_a_viewer_may_neither_make_keys_nor_change_routing(app: Flask) -> None:
    viewer = signed_in(app, "viewer")
    for path in ("/keys", "/audit", "/tenants", "/routing/rules/new", "/metrics"):
        assert viewer.get(path, headers=HTML).status_code == 403, path
    assert viewer.post("/routing/rules/new", data={}, headers=HTML).status_code == 403
    assert viewer.get("/routing/rules", headers=HTML).status_code == 200


def test_a_key_is_shown_once_works_and_can_be_revoked(app: Flask, database: Database) -> None:
    admin = signed_in(app, "admin")
    page = admin.post("/keys", data={"label": "ct", "role": "member", "lifetime": ""}).text
    key = page.split('id="key">')[1].split("<")[0]
    who = identity.authenticate(database, key)
    assert (who.tenant_id, who.role) == ("north", Role.MEMBER)
    assert key not in admin.get("/keys").text
    admin.post(f"/keys/{who.credential_id}/revoke")
    with pytest.raises(NotAuthenticated):
        identity.authenticate(database, key)


def test_a_system_admin_enters_a_tenant_and_keeps_the_system_s_pages(app: Flask) -> None:
    root = signed_in(app, "root")
    assert root.get("/studies", headers=HTML).status_code == 409
    root.post("/enter", data={"tenant": "north"})
    assert "Eve" in root.get("/studies", headers=HTML).text
    assert root.get("/tenants", headers=HTML).status_code == 200
    root.post("/enter", data={"tenant": ""})
    assert root.get("/studies", headers=HTML).status_code == 409


def test_a_person_cannot_enter_a_tenant_that_is_not_theirs(app: Flask) -> None:
    south = signed_in(app, "south")
    assert south.post("/enter", data={"tenant": "north"}, headers=HTML).status_code == 404
    assert "Eve" not in south.get("/studies", headers=HTML).text


def test_a_tenant_gets_ae_titles_and_callers(app: Flask) -> None:
    root = signed_in(app, "root")
    form = {"tenant": "east", "title": "East", "ae_titles": "EAST, EAST2"}
    assert root.post("/tenants", data=form).status_code == 303
    assert root.post("/tenants", data=form, headers=HTML).status_code == 409
    caller = {"ae_title": "CT1", "network": "10.0.0.7/24", "may_query": "yes"}
    assert root.post("/tenants/east/calling", data=caller).status_code == 303
    page = root.get("/tenants/east", headers=HTML).text
    assert "10.0.0.0/24" in page
    wrong = root.post("/tenants/east/calling", data=caller | {"network": "here"}, headers=HTML)
    assert wrong.status_code == 400
    assert "write it like 10.0.0.7" in wrong.text


def test_a_wrong_rule_is_refused_with_its_place_and_cure(app: Flask) -> None:
    admin = signed_in(app, "admin")
    form = {"name": "PACS", "kind": "dimse", "host": "127.0.0.1", "called_aet": "PACS"}
    admin.post("/routing/destinations/new", data=form | {"enabled": "yes"})
    rule = {
        "name": "CT",
        "tag": "Modalty",
        "operator": "equals",
        "value": "CT",
        "destination": "PACS",
    }
    wrong = admin.post("/routing/rules/new", data=rule, headers=HTML)
    assert wrong.status_code == 400
    assert "Condition 1" in wrong.text
    assert "did you mean Modality?" in wrong.text
    assert 'value="Modalty"' in wrong.text
    right = admin.post("/routing/rules/new", data=rule | {"tag": "Modality", "enabled": "yes"})
    assert right.status_code == 303
    assert "CT" in admin.get("/routing/rules").text


def test_a_rule_that_is_refused_is_audited_without_what_was_typed(app: Flask) -> None:
    admin = signed_in(app, "admin")
    rule = {
        "name": "CT",
        "tag": "Doe^Jane",
        "operator": "equals",
        "value": "x",
        "destination": "PACS",
    }
    admin.post("/routing/rules/new", data=rule)
    trail = admin.get("/audit?verdict=failed", headers=HTML).text
    assert "create-rule" in trail
    assert "Doe" not in trail


def test_a_connection_is_tested_by_a_post_alone_and_a_failure_is_audited(app: Flask) -> None:
    admin = signed_in(app, "admin")
    form = {"name": "Nobody", "kind": "dimse", "host": "127.0.0.1", "port": "1", "called_aet": "NO"}
    made = admin.post("/routing/destinations/new", data=form | {"then": "test"}, headers=HTML)
    assert 'hx-trigger="submit, load"' in admin.get(made.location, headers=HTML).text
    assert 'hx-trigger="submit, load"' not in admin.get(made.location, headers=HTML).text
    test = f"{made.location}/test"
    assert admin.get(test, headers=HTML).status_code == 405
    part = admin.post(test, headers=HTML | {"HX-Request": "true"}).text
    assert part.startswith("<ul")
    assert "TCP connection to 127.0.0.1:1" in part
    assert "check the port and that it runs" in part
    assert part in admin.post(test, headers=HTML).text
    assert "test-destination" in admin.get("/audit?verdict=failed", headers=HTML).text


def test_an_extension_that_is_switched_off_has_no_pages(app: Flask) -> None:
    admin = signed_in(app, "admin")
    admin.post("/extensions/routing", data={"enabled": "no"})
    assert admin.get("/routing/rules", headers=HTML).status_code == 404
    assert "/routing/rules" not in admin.get("/studies", headers=HTML).text
    admin.post("/extensions/routing", data={"enabled": "yes"})
    assert admin.get("/routing/rules", headers=HTML).status_code == 200


def test_a_refusal_is_explained_and_audited(app: Flask, database: Database) -> None:
    with database.system_session("test key") as session:
        key = identity.create_api_key(session, "north", Role.VIEWER, label="viewer key")
    request = {"X-Original-Method": "GET", "X-Original-URI": "/orthanc/system?x=1"}
    client = app.test_client()
    denied = client.get("/auth/explain", headers=request | {"Authorization": f"Bearer {key}"})
    assert denied.status_code == 403
    assert denied.json is not None
    assert denied.json["error"] == "NotAllowed"
    unknown = client.get("/auth/explain", headers=request | {"Authorization": "Bearer no"})
    assert unknown.status_code == 401
    assert "Bearer" in unknown.headers["WWW-Authenticate"]
    trail = signed_in(app, "admin").get("/audit?verdict=denied", headers=HTML).text
    assert "GET /orthanc/system" in trail


def test_who_shows_wrong_keys_does_not_fill_the_audit(app: Flask, database: Database) -> None:
    """Each of another address is recorded all the same."""

    def ask(number: int, address: str) -> None:
        headers = {
            "Authorization": f"Bearer wrong{number}",
            "X-Original-URI": "/dicom-web/studies",
            "X-Forwarded-For": address,
        }
        assert app.test_client().get("/auth/explain", headers=headers).status_code == 401

    for number in range(strangers.A_MINUTE + 5):
        ask(number, "10.0.0.66")
    ask(0, "10.0.0.67")
    with database.system_session("test") as session:
        rows = session.execute(
            "SELECT origin, detail FROM audit WHERE actor = 'unknown' ORDER BY audit_id"
        ).fetchall()
    assert [row["origin"] for row in rows].count("10.0.0.66") == strangers.A_MINUTE
    assert rows[strangers.A_MINUTE - 1]["detail"].endswith(strangers.LAST)
    assert rows[-1]["origin"] == "10.0.0.67"
    assert not rows[0]["detail"].endswith(strangers.LAST)


def test_metrics_are_for_system_keys(app: Flask, database: Database) -> None:
    with database.system_session("test key") as session:
        key = identity.create_api_key(session, None, Role.SYSTEM_ADMIN, label="prometheus")
    answer = app.test_client().get("/metrics", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 200
    assert 'argonath_studies{state="claimed",tenant="north"} 1.0' in answer.text
    assert "argonath_outbox_waiting 0.0" in answer.text
