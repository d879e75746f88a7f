"""The portal in a real browser, against the whole gateway."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import httpx
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.acceptance.browsing import (
    click,
    click_and_confirm,
    client_of,
    enter,
    fill,
    sign_in,
    text_of,
    wait_for,
    wait_for_text,
)
from tests.acceptance.conftest import RunningGateway


def test_a_wrong_password_says_so_and_keeps_the_e_mail(
    gateway: RunningGateway, browser: Chrome
) -> None:
    sign_in(browser, gateway, "not the password")
    wait_for(browser, lambda b: b.find_elements(By.CSS_SELECTOR, "[role=alert]"))
    assert "E-mail or password is wrong." in text_of(browser)
    kept = browser.find_element(By.ID, "email").get_attribute("value")
    assert kept == gateway.admin_email


def test_a_person_signs_in_with_the_keyboard_alone(
    gateway: RunningGateway, browser: Chrome
) -> None:
    browser.delete_all_cookies()
    browser.get(gateway.url + "/studies")
    wait_for(browser, lambda b: b.switch_to.active_element.get_attribute("id") == "email")
    browser.switch_to.active_element.send_keys(gateway.admin_email, Keys.TAB)
    browser.switch_to.active_element.send_keys(gateway.admin_password, Keys.ENTER)
    wait_for(browser, lambda b: "/sign-in" not in b.current_url)
    browser.get(gateway.url + "/")
    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    assert browser.switch_to.active_element.get_attribute("class") == "skip"


def test_a_study_that_arrived_stands_in_the_list_and_its_page_shows_an_image(
    gateway: RunningGateway, browser: Chrome, tmp_path: Path
) -> None:
    uid = gateway.send_phantom(tmp_path, "Lovelace^Ada")
    enter(browser, gateway)
    browser.get(gateway.url + "/studies")
    link = f"a[href='/studies/{uid}']"
    assert text_of(browser, link) == "Lovelace, Ada"
    click(browser, link)
    wait_for(
        browser,
        lambda b: b.execute_script(
            "return document.querySelector('.picture img')?.naturalWidth > 0"
        ),
    )
    assert "Cylinder with rods" in text_of(browser)
    # The node named the study in the audit as the page looks for it.
    trail = text_of(browser, "section[aria-labelledby=audit]")
    assert "store-study" in trail
    assert "CT1" in trail


def test_a_name_that_is_a_script_is_shown_as_text(
    gateway: RunningGateway, browser: Chrome, tmp_path: Path
) -> None:
    uid = gateway.send_phantom(tmp_path, "<script>alert(1)</script>^Eve")
    enter(browser, gateway)
    for path in ("/", "/studies", f"/studies/{uid}"):
        browser.get(gateway.url + path)
        # Were it run, the open dialog would make the next line raise.
        assert "<script>alert(1)</script>, Eve" in text_of(browser)


def test_a_key_made_in_the_portal_reads_and_once_revoked_gets_401_as_json(
    gateway: RunningGateway, browser: Chrome
) -> None:
    enter(browser, gateway)
    browser.get(gateway.url + "/keys")
    browser.find_element(By.ID, "label").send_keys("acceptance", Keys.ENTER)
    wait_for(browser, lambda b: b.find_elements(By.ID, "key"))
    header = {"Authorization": f"Bearer {browser.find_element(By.ID, 'key').text}"}
    assert httpx.get(gateway.url + "/dicom-web/studies", headers=header).status_code == 200
    click_and_confirm(browser, "button[aria-label='Revoke acceptance']")
    wait_for(browser, lambda b: "revoked" in text_of(b))

    def read() -> httpx.Response:
        return httpx.get(gateway.url + "/dicom-web/studies", headers=header)

    gateway.wait_until(lambda: read().status_code != 200)  # the node hears of it
    answer = read()
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.json()["error"] == "NotAuthenticated"
    assert answer.json()["cure"]


def test_an_admin_invites_a_person_who_signs_in_and_is_removed_while_signed_in(
    gateway: RunningGateway, browser: Chrome
) -> None:
    admin, email, password = gateway.north_email, "nurse@north.example", "a first password"
    sign_in(browser, gateway, email=admin)
    wait_for_text(browser, "Overview")
    browser.get(gateway.url + "/people")
    fill(browser, address=email)
    browser.find_element(By.ID, "address").send_keys(Keys.ENTER)
    wait_for_text(browser, "Pass this link on")
    with httpx.Client(headers={"Accept": "text/html"}, timeout=30) as guest:
        link = text_of(browser, "#link")
        token = guest.get(link).text.partition('name="csrf_token" value="')[2].partition('"')[0]
        accepted = guest.post(link, data={"password": password, "csrf_token": token})
        assert accepted.status_code == 303
    browser.get(gateway.url + "/people")
    with closing(client_of(gateway, email, password)) as nurse:
        assert nurse.get("/studies").status_code == 200
        assert nurse.get("/people").status_code == 403
        click_and_confirm(browser, f"button[aria-label='Remove {email}']")
        wait_for_text(browser, f"{email} is no member any more")
        assert nurse.get("/studies").status_code == 401
    browser.get(gateway.url + "/audit?resource=person%20nurse@north.example")
    for deed in ("invite", "accept-invitation", "remove-member"):
        assert deed in text_of(browser)
