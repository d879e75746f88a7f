"""Routing as an admin sees it in the browser: set up, in trouble, and cured by a click."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from tests.acceptance.browsing import (
    click,
    click_and_confirm,
    click_link,
    enter,
    fill,
    go_by,
    text_of,
    wait_for,
    wait_for_text,
)
from tests.acceptance.conftest import RunningGateway, make_gateway
from tests.acceptance.routing.test_forwarding import Receiver

PATIENT = "Forward^Fiona"


@pytest.fixture(scope="module")
def slow_gateway() -> Iterator[RunningGateway]:
    """It would try again by itself only long after the test."""
    gateway = make_gateway(stable_after_s="2", retry_delay_s="110")
    yield gateway
    gateway.stop()


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    """Not started."""
    folder = tmp_path / "received"
    folder.mkdir()
    receiver = Receiver(folder, PATIENT)
    yield receiver
    receiver.kill()


def add_destination(browser: Chrome, url: str, name: str, port: int, called: str) -> None:
    """Save it and test its connection."""
    browser.get(url + "/routing/destinations/new")
    fill(browser, name=name, host="127.0.0.1", port=str(port), called_aet=called)
    click(browser, "button[value=test]")
    wait_for_text(browser, f"{name} is saved")


def add_rule(browser: Chrome, url: str, tag: str, destination: str) -> None:
    browser.get(url + "/routing/rules/new")
    fill(browser, name=f"Fiona to {destination}")
    write_condition(browser, tag)
    choices = Select(browser.find_element(By.ID, "destination"))
    choices.select_by_index(
        next(i for i, it in enumerate(choices.options) if it.text.startswith(destination))
    )
    go_by(browser, "form.body button.primary")


def wait_for_deed(browser: Chrome, page: str, deed: str) -> None:
    """Until the audit on a study's page tells of it, which is written after what it is about."""
    audit = "section[aria-labelledby=audit]"
    wait_for(browser, lambda b: b.get(page) or deed in text_of(b, audit))


def write_condition(browser: Chrome, tag: str) -> None:
    for name, value in (("tag", tag), ("value", PATIENT)):
        field = browser.find_element(By.CSS_SELECTOR, f"#conditions [name={name}]")
        field.clear()
        field.send_keys(value)


def test_a_study_whose_receiver_is_down_says_why_and_goes_on_by_a_click_without_a_reload(
    slow_gateway: RunningGateway, browser: Chrome, receiver: Receiver, tmp_path: Path
) -> None:
    gateway, url = slow_gateway, slow_gateway.url
    enter(browser, gateway)
    add_destination(browser, url, "Archive", receiver.port, "RECEIVER")
    wait_for_text(browser, "Connection refused; check the port and that it runs.")
    add_rule(browser, url, "PatientNam", "Archive")
    wait_for_text(browser, "did you mean PatientName?")
    write_condition(browser, "PatientName")
    go_by(browser, "form.body button.primary")
    wait_for_text(browser, "The rule Fiona to Archive is saved.")

    study = gateway.send_phantom(tmp_path, PATIENT)
    for page in ("/routing/deliveries", f"/studies/{study}"):
        browser.get(url + page)
        wait_for_text(browser, "next try")
        said = text_of(browser, "#live, #deliveries")
        assert "waiting" in said
        assert "0 / 2" in said
        assert "127.0.0.1" in said
    browser.get(url + "/routing/destinations")
    assert "does not answer" in text_of(browser)

    browser.get(f"{url}/studies/{study}")
    browser.execute_script("window.sameDocument = true")
    receiver.start()
    click(browser, "#deliveries button")
    wait_for(browser, lambda b: "delivered" in text_of(b, "#deliveries"), 60)
    assert "2 / 2" in text_of(browser, "#deliveries")
    assert browser.execute_script("return window.sameDocument")
    assert len(receiver.all_received) == 2
    for deed in ("store-study", "release-delivery", "deliver-study"):
        wait_for_deed(browser, f"{url}/studies/{study}", deed)


def test_a_study_that_is_refused_says_with_which_status_and_release_tries_again(
    slow_gateway: RunningGateway, browser: Chrome, tmp_path: Path
) -> None:
    gateway, url = slow_gateway, slow_gateway.url
    enter(browser, gateway)
    # Another tenant of the same gateway refuses a study that is north's.
    add_destination(browser, url, "South", gateway.dicom_port, "SOUTH")
    wait_for_text(browser, "Status 0x0000")
    add_rule(browser, url, "PatientName", "South")
    wait_for_text(browser, "The rule Fiona to South is saved.")
    study = gateway.send_phantom(tmp_path, PATIENT)
    browser.get(url + "/routing/deliveries")
    wait_for_text(browser, "2 refused: 0x0124", 60)
    assert "release the delivery" in text_of(browser, "#live")
    wait_for_deed(browser, f"{url}/studies/{study}", "to South: 0 of 2")
    assert "2 refused: 0x0124" in text_of(browser, "#deliveries")
    click(browser, "#deliveries .delivery:has(.bad) button")
    # The click is on its way, or was answered, before anything else is asked for.
    wait_for(browser, lambda b: b.execute_script("return !document.querySelector('.htmx-request')"))
    click_link(browser, "South")
    # Attempts of each instance: it was sent, and refused, once more.
    attempts = "section[aria-labelledby=instances] td.number"
    wait_for(browser, lambda b: "2" in text_of(b, attempts))

    browser.get(url + "/routing/deliveries?state=failed")
    fill(browser, why="no such thing")
    click(browser, "form[role=search] button.primary")
    wait_for_text(browser, "No delivery is like that")
    fill(browser, why="0x0124")
    click(browser, "form[role=search] button.primary")
    wait_for_text(browser, "2 refused: 0x0124")
    click_and_confirm(browser, "#release-all")
    wait_for_text(browser, "1 deliveries are tried again.")
    click_link(browser, "Forward, Fiona")
    wait_for(browser, lambda b: "3" in text_of(b, attempts))


def test_a_live_update_leaves_the_focus_where_it_was(
    slow_gateway: RunningGateway, browser: Chrome
) -> None:
    enter(browser, slow_gateway)
    browser.get(slow_gateway.url + "/routing/deliveries")
    browser.execute_script("live.stale = true; document.getElementById('state-failed').focus()")
    wait_for(browser, lambda b: b.execute_script("return !live.stale"))
    assert browser.switch_to.active_element.get_attribute("id") == "state-failed"


def test_a_folder_is_set_up_and_a_study_sent_to_it_again_from_its_page(
    slow_gateway: RunningGateway, browser: Chrome, tmp_path: Path
) -> None:
    gateway, url = slow_gateway, slow_gateway.url
    enter(browser, gateway)
    browser.get(url + "/routing/destinations/new")
    click(browser, "input[value=folder]")
    assert not browser.find_element(By.ID, "host").is_displayed()
    fill(browser, name="Disk", folder="out")
    click(browser, "button[value=test]")
    wait_for_text(browser, "Written and removed")
    browser.get(url + "/routing/destinations")
    study = gateway.send_phantom(tmp_path, "Again^Anna")
    page = f"{url}/studies/{study}"
    wait_for(browser, lambda b: b.get(page) or b.find_elements(By.ID, "replay"))
    Select(browser.find_element(By.ID, "replay-to")).select_by_visible_text("Disk")
    click_and_confirm(browser, "#replay")
    wait_for_text(browser, "The study is sent again.")
    wait_for(browser, lambda b: "delivered" in text_of(b, "#deliveries"), 60)
    files = list((gateway.data / "export" / "north" / "out").rglob("*.dcm"))
    assert len(files) == 2
