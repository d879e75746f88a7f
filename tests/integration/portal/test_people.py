"""Who may sign in to a tenant, and who may change that."""

from __future__ import annotations

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from gateway import identity, people
from gateway.db import Database
from gateway.identity import Role
from tests.integration.portal.conftest import HTML, PASSWORD, signed_in

NEW = {"email": "New@Example.org", "password": "a first password"}


def number_of(database: Database, name: str) -> int:
    with database.system_session("test") as session:
        found = people.everybody(session)
    return next(row["person_id"] for row in found if row["email"] == f"{name}@example.org")


def sign_in(app: Flask, name: str, password: str) -> TestResponse:
    form = {"email": f"{name}@example.org", "password": password}
    return app.test_client().post("/sign-in", data=form, headers=HTML)


def make_owner(app: Flask, database: Database) -> FlaskClient:
    with database.system_session("test") as session:
        person = identity.create_person(session, "owner@example.org", PASSWORD)
        identity.add_member(session, person, "north", Role.OWNER)
    return signed_in(app, "owner")


def test_an_admin_sees_the_members_of_the_own_tenant_alone(app: Flask) -> None:
    page = signed_in(app, "admin").get("/people", headers=HTML).text
    assert "viewer@example.org" in page
    assert "south@example.org" not in page
    assert "root@example.org" not in page


def test_the_database_shows_a_tenant_its_members_alone_and_no_password(
    app: Flask, database: Database
) -> None:
    with database.tenant_session("south") as session:
        rows = session.execute("SELECT email FROM person").fetchall()
    assert rows == [{"email": "south@example.org"}]
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        database.tenant_session("south") as session,
    ):
        session.execute("SELECT password_hash FROM person")


@pytest.mark.parametrize("name", ["viewer", "south"])
def test_nobody_else_changes_the_people_of_a_tenant(
    app: Flask, database: Database, name: str
) -> None:
    admin = number_of(database, "admin")
    client = signed_in(app, name)
    for deed, form in (("role", {"role": "viewer"}), ("remove", {}), ("disabled", {})):
        answer = client.post(f"/people/{admin}/{deed}", data=form, headers=HTML)
        assert answer.status_code in (403, 404), deed
    with database.tenant_session("north") as session:
        assert next(m for m in people.members(session) if m.person_id == admin).role is Role.ADMIN


def test_a_new_role_holds_at_once_also_for_who_is_signed_in(app: Flask, database: Database) -> None:
    viewer, number = signed_in(app, "viewer"), number_of(database, "viewer")
    admin = signed_in(app, "admin")
    admin.post(f"/people/{number}/role", data={"role": "admin"})
    assert viewer.get("/people", headers=HTML).status_code == 200
    admin.post(f"/people/{number}/role", data={"role": "viewer"})
    assert viewer.get("/people", headers=HTML).status_code == 403
    assert "role admin to viewer" in admin.get("/audit?action=change-role", headers=HTML).text


def test_who_is_removed_is_signed_out_and_cannot_come_back(app: Flask, database: Database) -> None:
    viewer, admin = signed_in(app, "viewer"), signed_in(app, "admin")
    admin.post(f"/people/{number_of(database, 'viewer')}/remove")
    assert viewer.get("/studies", headers={"Accept": "application/json"}).status_code == 401
    assert sign_in(app, "viewer", PASSWORD).status_code == 401
    trail = admin.get("/audit?action=remove-member", headers=HTML).text
    assert "person viewer@example.org" in trail


def test_nobody_changes_the_own_membership(app: Flask, database: Database) -> None:
    admin = signed_in(app, "admin")
    for deed in ("role", "remove"):
        path = f"/people/{number_of(database, 'admin')}/{deed}"
        assert admin.post(path, data={"role": "owner"}, headers=HTML).status_code == 403


def test_owners_are_made_and_removed_by_owners_alone(app: Flask, database: Database) -> None:
    owner, admin = make_owner(app, database), signed_in(app, "admin")
    wanted = {"email": "new@example.org", "role": "owner"}
    assert admin.post("/people", data=wanted, headers=HTML).status_code == 403
    path = f"/people/{number_of(database, 'owner')}/remove"
    assert admin.post(path, headers=HTML).status_code == 403
    assert owner.post("/people", data=wanted, headers=HTML).status_code == 200


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"password": "short"}, "at least 12 characters"),
        ({"email": "nobody"}, "no e-mail address"),
        ({"email": "viewer@example.org"}, "viewer@example.org"),
    ],
)
def test_a_wrong_system_admin_is_refused_and_the_form_keeps_the_e_mail(
    app: Flask, wrong: dict[str, str], named: str
) -> None:
    page = signed_in(app, "root").post("/people/system-admins", data=NEW | wrong, headers=HTML)
    assert page.status_code in (400, 409)
    assert named in page.text
    assert f'value="{(NEW | wrong)["email"]}"' in page.text
    assert NEW["password"] not in page.text


def test_an_admin_of_a_tenant_makes_no_system_admin(app: Flask) -> None:
    answer = signed_in(app, "admin").post("/people/system-admins", data=NEW, headers=HTML)
    assert answer.status_code == 403
    assert sign_in(app, "new", NEW["password"]).status_code == 401


def test_a_system_admin_sees_everybody_makes_another_and_disables_one(
    app: Flask, database: Database
) -> None:
    root, viewer = signed_in(app, "root"), signed_in(app, "viewer")
    page = root.get("/people", headers=HTML).text
    assert "south admin" in page
    assert root.post("/people/system-admins", data=NEW).status_code == 303
    assert sign_in(app, "new", NEW["password"]).status_code == 303
    path = f"/people/{number_of(database, 'viewer')}/disabled"
    root.post(path, data={"disabled": "yes"})
    assert viewer.get("/studies", headers={"Accept": "application/json"}).status_code == 401
    assert sign_in(app, "viewer", PASSWORD).status_code == 401
    root.post(path, data={"disabled": "no"})
    assert sign_in(app, "viewer", PASSWORD).status_code == 303
    assert "disable-user" in root.get("/audit", headers=HTML).text
