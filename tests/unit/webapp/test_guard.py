"""What a page needs is asked before its view runs; a page that says nothing is closed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Blueprint, Flask
from flask.testing import FlaskClient

from gateway.access import Action
from gateway.errors import NotAuthenticated
from gateway.identity import Principal, Role
from gateway.needs import Needs, Open
from gateway.routes import SESSION_COOKIE
from gateway.settings import Settings
from webapp import create_app, errors, guard

JSON = {"Accept": "application/json"}
PEOPLE = {
    "viewer": Principal("viewer", Role.VIEWER, "north"),
    "admin": Principal("admin", Role.ADMIN, "north"),
    "system admin": Principal("root", Role.SYSTEM_ADMIN, None),
    "lost": Principal("lost", Role.OWNER, None),
}


def authenticate(token: str, _tenant: str = "") -> Principal:
    if token not in PEOPLE:
        raise NotAuthenticated
    return PEOPLE[token]


@pytest.fixture
def denials(app: Flask, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What would stand in the audit (action, resource), of a portal that knows `PEOPLE`."""
    told: list[tuple[str, str]] = []
    monkeypatch.setattr(errors, "_record_denial", lambda *record: told.append(record[:2]))
    app.extensions["argonath_authenticator"] = authenticate
    return told


@pytest.fixture
def add(app: Flask, denials: object) -> Callable[[Needs | None], FlaskClient]:
    """Add the page /new, of an extension, that needs this; a browser."""

    def adding(needs: Needs | None) -> FlaskClient:
        pages = Blueprint("new", __name__)

        def page() -> str:
            return "the page"

        pages.add_url_rule("/new", view_func=needs(page) if needs else page, methods=["GET"])
        pages.add_url_rule("/new", "change", page, methods=["POST"])
        app.register_blueprint(pages)
        return app.test_client()

    return adding


def status(client: FlaskClient, who: str, method: str = "GET", **headers: str) -> int:
    client.set_cookie(SESSION_COOKIE, who)
    return client.open("/new", method=method, headers=JSON | headers).status_code


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
@pytest.mark.parametrize("who", ["", "nobody", *PEOPLE])
def test_a_page_that_does_not_say_what_it_needs_is_closed_to_everybody(
    add: Callable[[Needs | None], FlaskClient], who: str, method: str
) -> None:
    assert status(add(None), who, method) == 403


def test_an_attempt_on_such_a_page_stands_in_the_audit_as_on_an_unknown_route(
    add: Callable[[Needs | None], FlaskClient], denials: list[tuple[str, str]]
) -> None:
    status(add(None), "admin")
    assert denials == [(Action.UNKNOWN_ROUTE, "page new.page")]


def test_a_post_without_its_form_token_is_told_apart_from_a_closed_page(
    app: Flask, add: Callable[[Needs | None], FlaskClient]
) -> None:
    app.config["WTF_CSRF_ENABLED"] = True
    assert status(add(None), "admin", "POST") == 403


@pytest.mark.parametrize(
    ("what", "opened_by"),
    [
        (Open.TO_ALL, {"", "nobody", *PEOPLE}),
        (Open.TO_SIGNED_IN, {*PEOPLE}),
        (Action.READ_STUDY, {"viewer", "admin", "system admin"}),
        (Action.MANAGE_KEYS, {"admin", "system admin"}),
        (Action.MANAGE_TENANTS, {"system admin"}),
        (Action.UNKNOWN_ROUTE, set()),
    ],
)
def test_a_page_opens_to_those_whom_the_policy_permits_what_it_needs(
    add: Callable[[Needs | None], FlaskClient], what: Action | Open, opened_by: set[str]
) -> None:
    client = add(Needs(what))
    assert {who for who in ("", "nobody", *PEOPLE) if status(client, who) == 200} == opened_by


@pytest.mark.parametrize(("by_link", "expected"), [(True, 200), (False, 401)])
def test_whoever_came_by_a_link_opens_only_what_says_so(
    add: Callable[[Needs | None], FlaskClient],
    monkeypatch: pytest.MonkeyPatch,
    by_link: bool,
    expected: int,
) -> None:
    visitor = Principal("link 1", Role.VIEWER, None, study_uid="1.2.3")
    monkeypatch.setattr(guard.share_links, "visitor", lambda _database, _token: visitor)
    client = add(Needs(Action.READ_STUDY, by_link=by_link))
    client.set_cookie("argonath_link", "a visit")
    assert client.get("/new", headers=JSON).status_code == expected


def test_a_link_opens_nothing_that_needs_more_than_reading(
    add: Callable[[Needs | None], FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = Principal("link 1", Role.ADMIN, None, study_uid="1.2.3")
    monkeypatch.setattr(guard.share_links, "visitor", lambda _database, _token: visitor)
    client = add(Needs(Action.MANAGE_KEYS, by_link=True))
    client.set_cookie("argonath_link", "a visit")
    assert client.get("/new", headers=JSON).status_code == 403


def test_every_page_says_what_it_needs() -> None:
    settings = Settings(
        database_url="postgresql://nobody@/none?host=/nonexistent&connect_timeout=1",
        redis_url="unix:///nonexistent/redis.sock",
        secret_key="unit-test",
    )
    app = create_app(settings)
    app.extensions["argonath"].database.close()
    assert "routing.show_rules" in app.view_functions
    assert guard.undeclared(app) == []
