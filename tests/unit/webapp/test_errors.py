"""What people and programs are told when something is wrong."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from gateway.errors import InvalidSettings
from gateway.needs import Needs, Open
from gateway.settings import Settings
from webapp import create_app
from webapp.session import local

HTML, JSON = {"Accept": "text/html"}, {"Accept": "application/json"}


def test_a_person_without_a_session_is_sent_to_sign_in_and_back(client: FlaskClient) -> None:
    answer = client.get("/studies?patient=doe", headers=HTML)
    assert answer.status_code == 302
    assert answer.location == "/sign-in?next=/studies%3Fpatient%3Ddoe"


def test_a_program_without_a_key_gets_401_with_a_challenge(client: FlaskClient) -> None:
    answer = client.get("/metrics", headers=JSON)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="Argonath"'
    assert answer.json is not None
    assert set(answer.json) == {"error", "message", "cure", "retry", "correlation"}


@pytest.mark.parametrize("told", ["", "f" * 31, "F" * 32, "x" * 32, "f" * 33])
def test_an_error_has_the_id_that_nginx_gave_and_no_other(client: FlaskClient, told: str) -> None:
    given = client.get("/metrics", headers=JSON | {"X-Request-ID": "f" * 32})
    other = client.get("/metrics", headers=JSON | {"X-Request-ID": told})
    assert given.get_json()["correlation"] == "f" * 32
    assert len(other.get_json()["correlation"]) == 32
    assert other.get_json()["correlation"] != told


def test_an_unknown_page_is_404_as_a_page_or_as_json(client: FlaskClient) -> None:
    page = client.get("/nothing", headers=HTML)
    assert page.status_code == 404
    assert "There is no such thing here." in page.text
    answer = client.get("/nothing", headers=JSON)
    assert answer.json is not None
    assert answer.json["error"] == "NotFound"


def test_a_wrong_method_is_405(client: FlaskClient) -> None:
    assert client.delete("/sign-in", headers=JSON).status_code == 405


def test_an_unforeseen_error_is_500_and_tells_nothing_of_the_inside(app: Flask) -> None:
    @Needs(Open.TO_ALL)
    def broken() -> str:
        raise RuntimeError("secret detail")

    app.add_url_rule("/broken", view_func=broken)
    answer = app.test_client().get("/broken", headers=JSON)
    assert answer.status_code == 500
    assert "secret detail" not in answer.text


def test_a_form_without_its_token_changes_nothing(app: Flask) -> None:
    app.config["WTF_CSRF_ENABLED"] = True
    answer = app.test_client().post("/sign-in", data={"email": "a@b"}, headers=HTML)
    assert answer.status_code == 400
    assert "nothing was changed" in answer.text


def test_a_portal_without_its_database_says_so_with_503(client: FlaskClient) -> None:
    client.set_cookie("argonath_session", "some-token")
    answer = client.get("/studies", headers=JSON)
    assert answer.status_code == 503
    assert answer.json is not None
    assert answer.json["retry"] is True


def test_health_names_every_part_that_is_not_ready(client: FlaskClient) -> None:
    answer = client.get("/health")
    assert answer.status_code == 503
    assert answer.json is not None
    assert set(answer.json["parts"]) == {
        "database", "schema", "redis", "archive", "worker", "services"
    }  # fmt: skip
    assert all(state != "ready" for state in answer.json["parts"].values())


def test_every_page_forbids_foreign_sources(client: FlaskClient) -> None:
    policy = client.get("/sign-in").headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self'")
    assert "unsafe" not in policy


def test_behind_tls_cookies_and_the_browser_keep_to_https(client: FlaskClient) -> None:
    assert "Strict-Transport-Security" not in client.get("/sign-in").headers
    client.application.config["SESSION_COOKIE_SECURE"] = True
    answer = client.get("/sign-in", base_url="https://pacs.hospital.example")
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=")
    cookie = answer.headers["Set-Cookie"]
    assert "Secure" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


def test_without_a_provider_there_is_no_way_to_sign_in_by_one(client: FlaskClient) -> None:
    assert "Sign in with" not in client.get("/sign-in").text
    assert client.get("/oidc/sign-in").status_code == 404
    assert client.get("/oidc/callback?code=x&state=y").status_code == 404


def test_the_portal_does_not_start_without_its_key() -> None:
    with pytest.raises(InvalidSettings, match="ARGONATH_SECRET_KEY"):
        create_app(Settings(secret_key=""))


@pytest.mark.parametrize(
    ("target", "safe"),
    [
        ("/studies?page=2", "/studies?page=2"),
        ("//evil.example", "/"),
        ("https://evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/a\nb", "/"),
        ("/sign-out", "/"),
    ],
)
def test_signing_in_never_leads_to_another_site(target: str, safe: str) -> None:
    assert local(target) == safe
