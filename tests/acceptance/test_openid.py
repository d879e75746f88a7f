"""People of an OpenID provider in the portal, and its access tokens on DICOMweb."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from gateway.oidc_discovery import PAUSE_S
from tests.acceptance.browsing import client_of, fill, sign_in, text_of, wait_for, wait_for_text
from tests.acceptance.conftest import RunningGateway, make_gateway
from tests.acceptance.openid import RunningProvider, at_the_provider, sign_in_there


@dataclass
class Hospital:
    """A gateway, and the provider at which its people sign in."""

    gateway: RunningGateway
    provider: RunningProvider

    def trail(self, text: str) -> str:
        """What the system admin reads in the audit."""
        client = client_of(self.gateway, self.gateway.admin_email, self.gateway.admin_password)
        with closing(client):
            return client.get("/audit", params={"text": text}, headers={"Accept": "text/html"}).text


@pytest.fixture(scope="module")
def hospital() -> Iterator[Hospital]:
    provider = RunningProvider()
    gateway = make_gateway(**provider.settings)
    try:
        provider.start(gateway.url)
        yield Hospital(gateway, provider)
        provider.stop()
    finally:
        gateway.stop()


def test_who_signs_in_there_works_in_the_tenant_that_a_group_gives_and_signs_out_of_both(
    hospital: Hospital, browser: Chrome
) -> None:
    sign_in_there(browser, hospital.gateway, "ada")
    wait_for(browser, lambda b: b.title.startswith("Overview"))
    assert browser.find_element(By.CSS_SELECTOR, ".who .tenant").text.endswith("north")
    assert "ada@hospital.example, admin" in str(
        browser.find_element(By.CSS_SELECTOR, ".who .person").get_attribute("title")
    )
    cookie = browser.get_cookie("argonath_session")
    assert cookie is not None
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Lax"
    assert "person ada@hospital.example" in hospital.trail("sign-in-oidc")

    browser.find_element(By.CSS_SELECTOR, ".who button").click()
    # The provider asks whether its own session is to end too.
    wait_for(browser, lambda b: b.current_url.startswith(hospital.provider.url))
    browser.find_element(By.CSS_SELECTOR, "button[name=logout]").click()
    wait_for(browser, lambda b: b.current_url == hospital.gateway.url + "/sign-in")
    assert "person ada@hospital.example" in hospital.trail("sign-out")
    browser.find_element(By.ID, "provider").click()
    wait_for(browser, lambda b: b.find_elements(By.NAME, "login"))  # nobody is signed in there


def test_who_has_no_tenant_is_told_what_to_do_and_the_audit_knows(
    hospital: Hospital, browser: Chrome
) -> None:
    sign_in_there(browser, hospital.gateway, "eve")
    assert "You belong to no tenant" in text_of(browser)
    assert "argonath:TENANT:ROLE" in text_of(browser)
    assert browser.get_cookie("argonath_session") is None
    trail = hospital.trail("sign-in-oidc")
    assert "person eve@hospital.example" in trail


def test_a_person_with_two_tenants_switches_and_has_the_role_of_each(
    hospital: Hospital, browser: Chrome
) -> None:
    sign_in_there(browser, hospital.gateway, "grace")
    who = (By.CSS_SELECTOR, ".who .person")
    assert "viewer" in str(browser.find_element(*who).get_attribute("title"))
    browser.find_element(By.CSS_SELECTOR, ".who .tenant").click()
    browser.find_element(By.CSS_SELECTOR, "button[aria-label='Enter south']").click()
    wait_for(browser, lambda b: b.title.startswith("Overview"))
    assert browser.find_element(By.CSS_SELECTOR, ".who .tenant").text.endswith("south")
    assert "member" in str(browser.find_element(*who).get_attribute("title"))
    browser.get(hospital.gateway.url + "/studies")
    assert browser.find_element(By.CSS_SELECTOR, ".who .tenant").text.endswith("south")
    assert "grace@hospital.example" in hospital.trail("enter-tenant")


def test_an_address_with_a_password_is_linked_by_its_owner_and_never_by_itself(
    hospital: Hospital, browser: Chrome
) -> None:
    gateway = hospital.gateway
    sign_in_there(browser, gateway, "twin")
    assert "has an account with a password here" in text_of(browser)
    browser.get(gateway.url + "/sign-in")
    browser.find_element(By.ID, "email").send_keys(gateway.north_email)
    browser.find_element(By.ID, "password").send_keys(gateway.admin_password)
    browser.find_element(By.CSS_SELECTOR, "button.primary").click()
    wait_for(browser, lambda b: b.title.startswith("Overview"))
    browser.get(gateway.url + "/enter")
    browser.find_element(By.CSS_SELECTOR, "form[action='/oidc/link'] button").click()
    wait_for_text(browser, "Linked")
    browser.delete_cookie("argonath_session")
    browser.get(gateway.url + "/sign-in")
    browser.find_element(By.ID, "provider").click()
    wait_for(browser, lambda b: b.title.startswith("Overview"))
    assert "person north@argonath.example" in hospital.trail("link-account")


def test_an_answer_that_this_browser_did_not_ask_for_signs_nobody_in(
    hospital: Hospital, browser: Chrome
) -> None:
    browser.get(hospital.gateway.url + "/oidc/callback?code=stolen&state=forged")
    assert "Signing in at the OpenID provider did not succeed" in text_of(browser)
    assert browser.get_cookie("argonath_session") is None
    browser.get(hospital.gateway.url + "/sign-in")
    browser.find_element(By.ID, "provider").click()
    wait_for(browser, lambda b: b.find_elements(By.NAME, "login"))
    browser.get(hospital.gateway.url + "/oidc/callback?code=stolen&state=forged")
    assert "another attempt" in text_of(browser)
    assert browser.get_cookie("argonath_session") is None


def test_an_access_token_opens_the_tenant_that_it_names_and_reads_no_other(
    hospital: Hospital, tmp_path: Path
) -> None:
    north = hospital.gateway.send_phantom(tmp_path, "Token^North")
    south = hospital.gateway.send_phantom(tmp_path, "Token^South", called="SOUTH")
    token = hospital.provider.access_token("north-script")
    found = hospital.gateway.get("/dicom-web/studies", token)
    assert found.status_code == 200
    assert north in found.text
    assert south not in found.text
    assert hospital.gateway.get(f"/dicom-web/studies/{north}/metadata", token).status_code == 200
    assert hospital.gateway.get(f"/dicom-web/studies/{south}/metadata", token).status_code == 404


def test_a_token_for_several_tenants_needs_the_header_that_chooses_one(
    hospital: Hospital, tmp_path: Path
) -> None:
    south = hospital.gateway.send_phantom(tmp_path, "Chosen^South", called="SOUTH")
    token = hospital.provider.access_token("both-script")
    refused = hospital.gateway.get("/dicom-web/studies", token)
    assert refused.status_code == 403
    assert refused.json()["error"] == "TenantNotChosen"
    assert "Argonath-Tenant" in refused.json()["cure"]
    chosen = {"Argonath-Tenant": "south"}
    assert south in hospital.gateway.get("/dicom-web/studies", token, **chosen).text
    north = hospital.gateway.get("/dicom-web/studies", token, **{"Argonath-Tenant": "north"})
    assert north.status_code == 200
    assert south not in north.text
    # The header chooses among what the token gives, and gives nothing.
    single = hospital.provider.access_token("north-script")
    assert hospital.gateway.get("/dicom-web/studies", single, **chosen).status_code == 403


def test_a_token_that_is_not_for_us_or_gives_no_tenant_is_refused(hospital: Hospital) -> None:
    elsewhere = hospital.provider.access_token("north-script", "urn:somebody:else")
    assert hospital.gateway.get("/dicom-web/studies", elsewhere).status_code == 401
    stray = hospital.gateway.get(
        "/dicom-web/studies", hospital.provider.access_token("stray-script")
    )
    assert stray.status_code == 403
    assert stray.json()["error"] == "NoMembership"
    head, body, seal = hospital.provider.access_token("north-script").split(".")
    forged = ".".join((head, body, seal[::-1]))
    assert hospital.gateway.get("/dicom-web/studies", forged).status_code == 401


def test_a_token_ends_when_it_says_also_where_it_is_known(hospital: Hospital) -> None:
    tokens: list[str] = []

    def status() -> int:
        return hospital.gateway.get("/dicom-web/studies", tokens[-1]).status_code

    def is_let_in() -> bool:
        tokens.append(hospital.provider.access_token("brief-script"))  # good for 4 s
        return status() == 200

    hospital.gateway.wait_until(is_let_in)
    hospital.gateway.wait_until(lambda: status() == 401)


def test_the_provider_is_not_asked_again_for_a_key_that_is_known(hospital: Hospital) -> None:
    hospital.gateway.get("/dicom-web/studies", hospital.provider.access_token("north-script"))
    asked = hospital.provider.asked("/jwks")
    for _ in range(20):
        token = hospital.provider.access_token("north-script")
        assert hospital.gateway.get("/dicom-web/studies", token).status_code == 200
    assert hospital.provider.asked("/jwks") == asked


def test_a_rotated_key_is_noticed_and_wrong_keys_make_no_storm(hospital: Hospital) -> None:
    old = hospital.provider.access_token("north-script")
    hospital.provider.rotate()
    new = hospital.provider.access_token("north-script")
    hospital.gateway.wait_until(
        lambda: hospital.gateway.get("/dicom-web/studies", new).status_code == 200, 20
    )
    asked = hospital.provider.asked("/jwks")
    for number in range(30):
        header = old.split(".")[0]
        text = json.loads(base64.urlsafe_b64decode(header + "=="))
        text["kid"] = f"unknown-{number}"
        named = base64.urlsafe_b64encode(json.dumps(text).encode()).decode().rstrip("=")
        token = ".".join((named, *old.split(".")[1:]))
        assert hospital.gateway.get("/dicom-web/studies", token).status_code == 401
    # At most one by the node and one by each of the portal's processes in each pause.
    assert hospital.provider.asked("/jwks") - asked <= 6


def test_without_the_provider_nobody_is_let_in_and_who_is_known_works_on(
    hospital: Hospital,
) -> None:
    gateway = hospital.gateway
    known = hospital.provider.access_token("north-script")
    assert gateway.get("/dicom-web/studies", known).status_code == 200
    key = gateway.argonath("api-key", "create", "--tenant", "north")
    hospital.provider.rotate()
    unknown = hospital.provider.access_token("north-script")
    hospital.provider.stop()
    time.sleep(PAUSE_S + 1)  # what was asked for before is not asked for again at once
    answer = gateway.get("/dicom-web/studies", unknown)
    assert answer.status_code == 503
    assert answer.json()["error"] == "ProviderUnavailable"
    assert answer.headers["Retry-After"]
    assert gateway.get("/dicom-web/studies", known).status_code == 200
    assert gateway.get("/dicom-web/studies", key).status_code == 200
    hospital.provider.start(gateway.url)
    time.sleep(PAUSE_S + 1)  # nor after it was asked in vain


def test_an_invitation_is_accepted_by_signing_in_at_the_provider(
    hospital: Hospital, browser: Chrome
) -> None:
    """Eve has no group for us, and needs none where she is invited."""
    gateway = hospital.gateway
    sign_in(browser, gateway, email=gateway.north_email)
    wait_for(browser, lambda b: b.title.startswith("Overview"))
    browser.get(gateway.url + "/people")
    fill(browser, address="eve@hospital.example")
    browser.find_element(By.CSS_SELECTOR, "form[action='/people'] button").click()
    link = browser.find_element(By.ID, "link").text
    browser.delete_all_cookies()
    browser.get(link)
    assert "invites you to" in text_of(browser)
    browser.find_element(By.ID, "provider").click()
    at_the_provider(browser, gateway, "eve")
    wait_for(browser, lambda b: b.title.startswith("Overview"))
    assert browser.find_element(By.CSS_SELECTOR, ".who .tenant").text.endswith("north")
    browser.get(link)
    assert "was used or withdrawn" in text_of(browser)
