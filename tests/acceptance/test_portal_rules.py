"""Rules in the browser: checked as they are typed, tried on studies, holding one, released."""

from __future__ import annotations

from pathlib import Path

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from gateway.phantom import ct_phantom
from tests.acceptance.browsing import click, enter, fill, go_by, text_of, wait_for, wait_for_text
from tests.acceptance.conftest import RunningGateway
from tests.acceptance.routing.test_forwarding import routing
from tests.acceptance.test_portal_deliveries import add_destination

PATIENT = "Rule^Rudolf"
TEXT = f"""\
rules:
- name: Look at Rudolf
  when: {{field: PatientName, operator: equals, value: {PATIENT}}}
  actions:
  - label: {{add: [rudolf]}}
  - hold: {{reason: Check the name.}}
  - label: {{add: [checked]}}
"""


def write(browser: Chrome, text: str) -> None:
    """Replace the text as somebody who pastes it."""
    browser.execute_script(
        "const text = document.querySelector('#text'); text.value = arguments[0];"
        "text.dispatchEvent(new Event('input', {bubbles: true}))",
        text,
    )


def selected(browser: Chrome) -> str:
    return str(
        browser.execute_script(
            "const t = document.querySelector('#text');"
            "return t.value.slice(t.selectionStart, t.selectionEnd)"
        )
    )


def test_a_rule_is_checked_while_it_is_typed_tried_and_then_holds_a_study(
    gateway: RunningGateway, browser: Chrome, tmp_path: Path
) -> None:
    study = gateway.send_phantom(tmp_path, PATIENT)
    enter(browser, gateway)
    browser.get(gateway.url + "/routing/rules/text/new")
    write(browser, TEXT.replace("PatientName", "PatientNam"))
    wait_for_text(browser, "did you mean PatientName?")
    click(browser, "#checked button[data-line]")
    assert "PatientNam, operator" in selected(browser)

    write(browser, TEXT)
    wait_for_text(browser, "hold for a person: Check the name.")
    assert "No mistake in 1 rule" in text_of(browser, "#checked")

    gateway.wait_until(lambda: "complete" in page_text(browser, gateway, study), 60)
    gateway.wait_until(lambda: has_facts(gateway, study))
    browser.get(gateway.url + "/routing/rules/text/new")
    write(browser, TEXT)
    click(browser, "button[formaction='/routing/rules/tryouts']")
    wait_for_text(browser, "would be treated differently than by the live rules", 60)
    assert "Look at Rudolf" in text_of(browser, "section[aria-labelledby=matching]")
    assert browser.find_elements(By.CSS_SELECTOR, f"a[href='/studies/{study}']")

    browser.get(gateway.url + "/routing/rules/text/new")
    write(browser, TEXT)
    click(browser, "button[value=compare]")
    wait_for_text(browser, "Save as version")
    click(browser, "button[value=save]")
    wait_for_text(browser, "of the rules is live.")

    held = gateway.send_phantom(tmp_path, PATIENT)
    browser.get(gateway.url + "/routing/rules/attention")
    wait_for_page(browser, gateway, "/routing/rules/attention", "Check the name.")
    browser.get(f"{gateway.url}/studies/{held}")
    wait_for_text(browser, "rudolf")
    assert "saw Rule^Rudolf" in text_of(browser, "#deliveries")
    browser.execute_script("window.sameDocument = true")
    click(browser, "button[id^=run-release]")
    wait_for(browser, lambda b: "checked" in text_of(b, "#deliveries .flow > .node"), 60)
    assert browser.execute_script("return window.sameDocument")


def test_the_form_of_a_rule_is_checked_while_it_is_filled_in_and_tried_on_a_file(
    gateway: RunningGateway, browser: Chrome, tmp_path: Path
) -> None:
    enter(browser, gateway)
    add_destination(browser, gateway.url, "Heads", 9, "HEADS")
    browser.get(gateway.url + "/routing/rules/new")
    fill(browser, name="Rudolf to heads")
    condition(browser, "tag").send_keys("PatientNam")
    condition(browser, "value").send_keys(PATIENT)
    told = "#conditions td:first-child .mistake"
    wait_for(browser, lambda b: "did you mean PatientName?" in text_of(b, told))
    assert condition(browser, "tag").get_attribute("aria-invalid") == "true"
    assert browser.find_elements(By.CSS_SELECTOR, "#destination + .mistake") == []
    condition(browser, "tag").send_keys("e")
    browser.find_element(By.CSS_SELECTOR, "#destination option:last-child").click()
    wait_for_text(browser, "one series has PatientName equals Rule^Rudolf")
    # htmx settles a moment after what it brought is there.
    wait_for(browser, lambda b: b.execute_script("return !document.querySelector('.mistake')"))
    file = tmp_path / "one.dcm"
    file.write_bytes(ct_phantom(1, patient_name=PATIENT)[0])
    browser.find_element(By.ID, "dicom").send_keys(str(file))
    go_by(browser, "button[formaction='/routing/rules/try-file']")
    wait_for_text(browser, "forward to Heads")
    planned = text_of(browser, "section[aria-labelledby=planned]")
    assert "only the draft does it" in planned
    assert "Rudolf to heads" in planned


def test_enter_beside_the_form_of_a_rule_tries_it_and_saves_nothing(
    gateway: RunningGateway, browser: Chrome
) -> None:
    enter(browser, gateway)
    add_destination(browser, gateway.url, "Tails", 9, "TAILS")
    browser.get(gateway.url + "/routing/rules/new")
    fill(browser, name="Only tried")
    browser.find_element(By.CSS_SELECTOR, "#destination option:last-child").click()
    browser.find_element(By.ID, "studies").send_keys(Keys.ENTER)
    wait_for(browser, lambda b: "/routing/rules/tryouts/" in b.current_url)
    browser.get(gateway.url + "/routing/rules")
    assert "Only tried" not in text_of(browser)


def condition(browser: Chrome, part: str) -> WebElement:
    """A field of the first condition."""
    return browser.find_element(By.CSS_SELECTOR, f"#conditions [name={part}]")


def test_the_keyboard_leaves_the_text_and_an_example_goes_where_the_cursor_is(
    gateway: RunningGateway, browser: Chrome
) -> None:
    enter(browser, gateway)
    browser.get(gateway.url + "/routing/rules/text/new")
    text = browser.find_element(By.ID, "text")
    before = text.get_attribute("value") or ""
    text.send_keys(Keys.CONTROL, Keys.END)
    browser.find_element(By.ID, "text").send_keys(Keys.TAB)
    assert browser.switch_to.active_element.get_attribute("id") != "text"
    assert text.get_attribute("value") == before
    click(browser, "[aria-labelledby=examples] details:last-of-type summary")
    click(browser, "[aria-labelledby=examples] details:last-of-type button")
    after = text.get_attribute("value") or ""
    assert after == before + "  priority: urgent\n  stop: true\n"
    wait_for_text(browser, "What it sends is urgent.")


def test_what_somebody_types_survives_a_live_update(
    gateway: RunningGateway, browser: Chrome, tmp_path: Path
) -> None:
    """The reason for a discard, on a page that is replaced every 3 s, also just now."""
    enter(browser, gateway)
    browser.get(gateway.url + "/routing/rules/text")
    write(browser, TEXT.replace(PATIENT, "Other^Otto"))
    click(browser, "button[value=compare]")
    wait_for_text(browser, "Save as version")
    click(browser, "button[value=save]")
    wait_for_text(browser, "of the rules is live.")
    study = gateway.send_phantom(tmp_path, "Other^Otto")
    wait_for_page(browser, gateway, f"/studies/{study}", "Check the name.")
    wait_for(browser, lambda b: b.find_elements(By.CSS_SELECTOR, "[id^=run-reason]"))
    browser.set_network_conditions(offline=False, latency=2500, throughput=10**6)
    under_way = "return !!document.querySelector('[data-live].htmx-request')"
    wait_for(browser, lambda b: b.execute_script(under_way))
    browser.find_element(By.CSS_SELECTOR, "[id^=run-reason]").send_keys("Sent twice.")
    browser.execute_async_script("setTimeout(arguments[0], 4000)")
    browser.delete_network_conditions()
    reason = browser.find_element(By.CSS_SELECTOR, "[id^=run-reason]")
    assert reason.get_attribute("value") == "Sent twice."
    reason.send_keys(Keys.ENTER)
    wait_for(browser, lambda b: "discarded" in text_of(b, "#deliveries"), 30)


def has_facts(gateway: RunningGateway, study: str) -> bool:
    """Whether a try-out knows it: a job of its own keeps what rules look at."""
    with routing(gateway) as session:
        facts = "SELECT FROM series_facts WHERE study_instance_uid = %s"
        return session.execute(facts, [study]).rowcount > 0


def page_text(browser: Chrome, gateway: RunningGateway, study: str) -> str:
    browser.get(f"{gateway.url}/studies/{study}")
    return text_of(browser)


def wait_for_page(browser: Chrome, gateway: RunningGateway, path: str, text: str) -> None:
    """Until the page says so, loaded again and again."""

    def says() -> bool:
        browser.get(gateway.url + path)
        return text in text_of(browser)

    gateway.wait_until(says, 90)
