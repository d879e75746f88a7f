"""Inviting people to a tenant, on a real database and a real mail server."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask

from gateway.db import Database
from gateway.settings import Settings
from tests.integration.mailbox import mail_server
from tests.integration.portal.conftest import HTML, PASSWORD, signed_in
from webapp import create_app

NEW = {"email": "New@Example.org", "role": "member"}
JSON = {"Accept": "application/json"}


def invited(app: Flask, **form: str) -> str:
    """The path of the link that north's admin sees, once."""
    page = signed_in(app, "admin").post("/people", data=NEW | form, headers=HTML)
    found = re.search(r"http://localhost(/invitations/[\w-]+)", page.text)
    assert found is not None, page.text
    return found[1]


def expire(database: Database) -> None:
    with database.system_session("test") as session:
        session.execute("UPDATE invitation SET expires_at = now()")


def test_the_link_is_shown_once_and_makes_its_holder_a_member_with_that_role(
    app: Flask, database: Database
) -> None:
    link = invited(app)
    assert link.split("/")[-1] not in signed_in(app, "admin").get("/people", headers=HTML).text
    guest = app.test_client()
    page = guest.get(link, headers=HTML).text
    assert "admin@example.org invites you to <strong>North Hospital</strong> as member" in page
    assert guest.post(link, data={"password": "a good new password"}).location == "/"
    assert guest.get("/studies", headers=HTML).status_code == 200
    assert guest.get("/people", headers=HTML).status_code == 403
    again = {"email": "new@example.org", "password": "a good new password"}
    assert app.test_client().post("/sign-in", data=again).status_code == 303
    trail = signed_in(app, "admin").get("/audit", headers=HTML).text
    assert "accept-invitation" in trail
    assert "invited as new@example.org by admin@example.org, role member" in trail


def test_of_the_link_only_a_hash_is_stored(app: Flask, database: Database) -> None:
    token = invited(app).split("/")[-1]
    with database.system_session("test") as session:
        rows = session.execute("SELECT * FROM invitation").fetchall()
    assert token not in str(rows)


@pytest.mark.parametrize("end", ["used", "withdrawn", "expired", "replaced"])
def test_a_link_is_good_once_and_for_a_while(app: Flask, database: Database, end: str) -> None:
    link = invited(app)
    if end == "used":
        app.test_client().post(link, data={"password": "a good new password"})
    elif end == "withdrawn":
        admin = signed_in(app, "admin")
        page = admin.get("/people", headers=HTML).text
        withdraw = re.search(r"/people/invitations/\d+/withdraw", page)
        assert withdraw is not None
        assert admin.post(withdraw[0]).status_code == 303
    elif end == "expired":
        expire(database)
    else:
        invited(app)
    stranger = app.test_client()
    assert stranger.get(link, headers=JSON).status_code == 410
    answer = stranger.post(link, data={"password": "another password"}, headers=JSON)
    assert answer.status_code == 410
    assert "Ask whoever invited you" in answer.json["cure"]
    assert stranger.get_cookie("argonath_session") is None


def test_an_account_that_exists_joins_by_its_own_password_alone(
    app: Flask, database: Database
) -> None:
    link = invited(app, email="south@example.org")
    client = app.test_client()
    refused = client.post(link, data={"password": "a password that I chose"}, headers=HTML)
    assert refused.status_code == 401
    assert "not the password of your account" in refused.text
    assert client.post(link, data={"password": PASSWORD}).status_code == 303
    page = client.get("/enter", headers=HTML).text
    assert "you are here" in page
    assert "North Hospital" in page
    assert "South Clinic" in page


def masked(page: str, email: str) -> str:
    """A page without the address, the link, the form's token and moments: these always differ."""
    page = re.sub(r'name="csrf_token" value="[^"]+"', "#", page)
    page = re.sub(r"/invitations/[\w-]+", "/invitations/#", page.replace(email, "#"))
    return re.sub(r"<time.*?</time>", "#", page, flags=re.DOTALL)


def test_to_invite_somebody_of_another_tenant_is_answered_as_to_invite_a_stranger(
    app: Flask,
) -> None:
    """Else an admin finds out who works elsewhere."""
    answers = []
    for email in ("south@example.org", "nobody@example.org"):
        admin = signed_in(app, "admin")
        answer = admin.post("/people", data=NEW | {"email": email}, headers=HTML)
        link = re.search(r"http://localhost(/invitations/[\w-]+)", answer.text)
        assert link is not None
        invitation = app.test_client().get(link[1], headers=HTML)
        too_short = app.test_client().post(link[1], data={"password": "short"}, headers=HTML)
        withdraw = re.search(r"/people/invitations/\d+/withdraw", answer.text)
        assert withdraw is not None
        admin.post(withdraw[0])
        answers.append(
            [
                (each.status_code, masked(each.text, email), sorted(each.headers.keys()))
                for each in (answer, invitation, too_short)
            ]
        )
    assert answers[0] == answers[1]


def test_who_belongs_nowhere_any_more_is_invited_as_somebody_new(
    app: Flask, database: Database
) -> None:
    with database.system_session("test") as session:
        session.execute(
            "DELETE FROM membership USING person p WHERE membership.person_id = p.person_id "
            "AND p.email = 'viewer@example.org'"
        )
    link = invited(app, email="viewer@example.org")
    client = app.test_client()
    assert client.post(link, data={"password": "a good new password"}).status_code == 303
    again = {"email": "viewer@example.org", "password": "a good new password"}
    assert app.test_client().post("/sign-in", data=again).status_code == 303


@pytest.mark.parametrize("why", ["disabled_at = now()", "system_admin = true"])
def test_whom_a_tenant_is_not_alone_to_judge_gets_no_new_password_by_a_link(
    app: Flask, database: Database, why: str
) -> None:
    with database.system_session("test") as session:
        session.execute("DELETE FROM membership WHERE tenant_id = 'south'")
        session.execute(f"UPDATE person SET {why} WHERE email = 'south@example.org'".encode())
    link = invited(app, email="south@example.org")
    answer = app.test_client().post(link, data={"password": "a good new password"}, headers=HTML)
    assert answer.status_code == 401


def test_the_password_of_an_invited_account_cannot_be_guessed_by_the_link(app: Flask) -> None:
    link = invited(app, email="south@example.org")
    client = app.test_client()
    for number in range(5):
        client.post(link, data={"password": f"guess number {number}"}, headers=HTML)
    assert client.post(link, data={"password": PASSWORD}, headers=HTML).status_code == 429


@pytest.mark.parametrize(
    ("wrong", "status", "named"),
    [
        ({"role": "owner"}, 403, "Only an owner"),
        ({"role": "system-admin"}, 400, "choose one of"),
        ({"email": "nobody"}, 400, "no e-mail address"),
        ({"email": "a@b\r\nBcc: c@d"}, 400, "no e-mail address"),
        ({"email": "viewer@example.org"}, 409, "is a member"),
    ],
)
def test_a_wrong_invitation_is_refused(
    app: Flask, wrong: dict[str, str], status: int, named: str
) -> None:
    page = signed_in(app, "admin").post("/people", data=NEW | wrong, headers=HTML)
    assert page.status_code == status
    assert named in page.text
    assert "/invitations/" not in page.text.replace('action="/people/invitations', "")


def test_a_viewer_and_another_tenant_s_admin_neither_invite_nor_withdraw(app: Flask) -> None:
    invited(app)
    page = signed_in(app, "admin").get("/people", headers=HTML).text
    withdraw = re.search(r"/people/invitations/\d+/withdraw", page)
    assert withdraw is not None
    viewer, south = signed_in(app, "viewer"), signed_in(app, "south")
    assert viewer.post("/people", data=NEW, headers=HTML).status_code == 403
    assert viewer.post(withdraw[0], headers=HTML).status_code == 403
    assert south.post(withdraw[0], headers=HTML).status_code == 404
    assert "new@example.org" not in south.get("/people", headers=HTML).text


def test_with_a_mail_server_the_link_goes_to_the_address_and_is_not_shown(
    app: Flask, settings: Settings
) -> None:
    with mail_server() as box:
        mailing = app_with(settings, smtp_url=box.url, mail_from="pacs@example.org")
        admin = signed_in(mailing, "admin")
        assert admin.post("/people", data=NEW).status_code == 303
    page = admin.get("/people", headers=HTML).text
    assert "on its way to new@example.org" in page
    assert "localhost/invitations" not in page
    (message,) = box.messages
    assert (message["To"], message["From"]) == ("new@example.org", "pacs@example.org")
    link = re.search(r"http://localhost(/invitations/[\w-]+)", str(message.get_payload()))
    assert link is not None
    guest = mailing.test_client()
    assert guest.post(link[1], data={"password": "a good new password"}).status_code == 303


def test_when_the_mail_server_is_away_the_inviter_gets_the_link(
    app: Flask, settings: Settings
) -> None:
    mailing = app_with(settings, smtp_url="smtp://127.0.0.1:9", mail_from="pacs@example.org")
    page = signed_in(mailing, "admin").post("/people", data=NEW, headers=HTML)
    assert page.status_code == 502
    assert "The e-mail could not be sent" in page.text
    assert "http://localhost/invitations/" in page.text


def app_with(settings: Settings, **more: Any) -> Flask:
    """The portal again, with other settings."""
    app = create_app(replace(settings, **more))
    app.config["WTF_CSRF_ENABLED"] = False
    return app
