"""Every page of the portal, filled, as people see it at 1280x800: it fits, and it complains of
nothing. With ARGONATH_SCREENSHOTS naming a folder, a picture of each is kept there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from gateway import invitations, share_links
from gateway.db import Database
from gateway.identity import Principal, Role
from tests.acceptance import hospital
from tests.acceptance.browsing import (
    click,
    click_link,
    enter,
    fill,
    go_by,
    sign_in,
    wait_for,
    wait_for_text,
)
from tests.acceptance.conftest import RunningGateway
from tests.acceptance.riverside import ADMIN, TENANT, at_work, database_of

SHOTS = os.environ.get("ARGONATH_SCREENSHOTS")
DRAFT = """\
rules:
- name: Heads for research, without names
  when:
    all:
    - {field: Modality, operator: one of, value: [CT, MR]}
    - {field: StudyDescription, operator: contains, value: head}
  actions:
  - morph:
      changes:
      - {do: set, tag: PatientName, value: "Head^Anonymous"}
      - {do: suffix, tag: StudyDescription, text: " (research)"}
  - forward: {to: Research}
"""


@pytest.fixture(scope="module")
def filled(
    gateway: RunningGateway, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """The gateway with a hospital at work."""
    with at_work(gateway, tmp_path_factory.mktemp("hospital")):
        yield gateway


@pytest.fixture
def database(gateway: RunningGateway) -> Iterator[Database]:
    database = database_of(gateway)
    yield database
    database.close()


@pytest.fixture
def window(browser: Chrome) -> Chrome:
    """A browser whose page area has 1280x800 pixels."""
    metrics = {"width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    return browser


def check(browser: Chrome, name: str, *, expect_errors: bool = False) -> None:
    """The page fits, has a heading, and the browser complains of nothing; keep its picture."""
    wait_for(browser, lambda b: b.find_elements(By.TAG_NAME, "h1"))
    wait_for(
        browser,
        lambda b: b.execute_script(
            "return [...document.images].every(i => i.complete || i.loading === 'lazy')"
        ),
    )
    if SHOTS:
        picture = Image.open(BytesIO(browser.get_screenshot_as_png())).convert("RGB")
        picture.quantize(256).save(Path(SHOTS) / f"{name}.png", optimize=True)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 1280
    lines = browser.get_log("browser")  # type: ignore[no-untyped-call]
    said = [line["message"] for line in lines if line["level"] == "SEVERE"]
    assert expect_errors or said == []


TENANT_PAGES = {
    "overview": "/",
    "studies": "/studies",
    "deliveries": "/routing/deliveries",
    "destinations": "/routing/destinations",
    "destination-new": "/routing/destinations/new",
    "rules": "/routing/rules",
    "rule-new": "/routing/rules/new",
    "rules-text": "/routing/rules/text",
    "rule-text": "/routing/rules/text/named/Trauma%20at%20night",
    "attention": "/routing/rules/attention",
    "history": "/routing/rules/history",
    "version": "/routing/rules/history/4",
    "crosswalks": "/routing/rules/crosswalks",
    "crosswalk": "/routing/rules/crosswalks/accessions",
    "crosswalk-new": "/routing/rules/crosswalks/new",
    "notifications": "/routing/notifications",
    "sources": "/polling/sources",
    "source-new": "/polling/sources/new?kind=dicomweb",
    "people": "/people",
    "shared": "/shared",
    "keys": "/keys",
    "audit": "/audit",
    "extensions": "/extensions",
}
SYSTEM_PAGES = {
    "gateway": "/",
    "tenants": "/tenants",
    "tenant": f"/tenants/{TENANT}",
    "everybody": "/people",
    "enter": "/enter",
    "audit-of-all": "/audit",
}


def as_admin(browser: Chrome, gateway: RunningGateway) -> None:
    sign_in(browser, gateway, email=ADMIN)
    wait_for_text(browser, "Overview")


def test_the_pages_of_a_tenant(filled: RunningGateway, window: Chrome) -> None:
    as_admin(window, filled)
    for name, path in TENANT_PAGES.items():
        window.get(filled.url + path)
        check(window, name)


def test_the_pages_of_the_system(filled: RunningGateway, window: Chrome) -> None:
    sign_in(window, filled)
    wait_for_text(window, "Gateway")
    for name, path in SYSTEM_PAGES.items():
        window.get(filled.url + path)
        check(window, name)


def open_study(browser: Chrome, gateway: RunningGateway, patient: str) -> None:
    """Its page, with every thumbnail."""
    exam = next(exam for exam in hospital.EXAMS if exam.patient.startswith(patient))
    browser.get(f"{gateway.url}/studies/{exam.study_uid}")
    wait_for(
        browser,
        lambda b: b.execute_script(
            "return [...document.querySelectorAll('.picture img')].every(i => i.naturalWidth)"
        ),
    )


def test_one_study(filled: RunningGateway, window: Chrome) -> None:
    as_admin(window, filled)
    open_study(window, filled, "Lindqvist")
    check(window, "study")
    window.execute_script("document.querySelector('.flow').scrollIntoView({block: 'center'})")
    check(window, "study-flow")
    open_study(window, filled, "Müller")
    window.execute_script("scrollTo(0, document.body.scrollHeight)")
    check(window, "study-trouble")


def test_one_delivery_that_was_refused(filled: RunningGateway, window: Chrome) -> None:
    as_admin(window, filled)
    window.get(filled.url + "/routing/deliveries?state=failed")
    click(window, "tbody th a")
    wait_for_text(window, "Delivery to Research")
    check(window, "delivery")


def test_a_connection_that_fails(filled: RunningGateway, window: Chrome) -> None:
    as_admin(window, filled)
    window.get(filled.url + "/routing/destinations")
    click(window, "button[aria-label='Test connection to Teleradiology']")
    wait_for_text(window, "TCP connection to 127.0.0.1")
    check(window, "destinations-test")
    click(window, "button[aria-label='Test connection to Main archive']")
    wait_for_text(window, "C-ECHO")
    window.find_element(By.LINK_TEXT, "Main archive").click()
    wait_for_text(window, "Delete destination")
    click(window, "button[value=test]")
    wait_for_text(window, "C-ECHO")
    check(window, "destination")


def test_a_rule_that_is_wrong(filled: RunningGateway, window: Chrome) -> None:
    as_admin(window, filled)
    window.get(filled.url + "/routing/rules/new")
    fill(window, name="Trauma to the night shift")
    for name, value in (("tag", "StudyDescripton"), ("value", "trauma")):
        window.find_element(By.CSS_SELECTOR, f"#conditions [name={name}]").send_keys(value)
    wait_for_text(window, "did you mean StudyDescription?")
    check(window, "rule-live")
    window.find_element(By.CSS_SELECTOR, "#destination option:last-child").click()
    go_by(window, "form.body button.primary")
    wait_for_text(window, "did you mean StudyDescription?")
    check(window, "rule-error", expect_errors=True)


def test_a_draft_that_is_wrong_and_then_tried(
    filled: RunningGateway, window: Chrome, tmp_path: Path
) -> None:
    as_admin(window, filled)
    write_rule(window, filled, DRAFT.replace("StudyDescription, op", "StudyDescripton, op"))
    wait_for_text(window, "did you mean StudyDescription?")
    check(window, "rule-text-error")
    write_rule(window, filled, DRAFT)
    wait_for_text(window, "No mistake")
    click(window, "button[formaction='/routing/rules/tryouts']")
    wait_for_text(window, "would be treated differently", 60)
    check(window, "tryout")
    window.execute_script(
        "document.querySelector('[aria-label=\"Changed tags\"]').scrollIntoView()"
    )
    check(window, "tryout-tags")
    window.get(filled.url + "/routing/rules/text")
    click(window, "button[formaction='/routing/rules/tryouts']")
    wait_for_text(window, "Every study would be treated as the live rules treat it.", 60)
    check(window, "tryout-live")
    write_rule(window, filled, DRAFT)
    click(window, "button[value=compare]")
    wait_for_text(window, "Save as version")
    check(window, "rules-compare")


def write_rule(browser: Chrome, gateway: RunningGateway, text: str) -> None:
    browser.get(gateway.url + "/routing/rules/text/new")
    browser.execute_script(
        "const text = document.querySelector('#text'); text.value = arguments[0];"
        "text.dispatchEvent(new Event('input', {bubbles: true}))",
        text,
    )


def test_one_file_is_tried(filled: RunningGateway, window: Chrome, tmp_path: Path) -> None:
    as_admin(window, filled)
    window.get(filled.url + "/routing/rules/try-file")
    file = hospital.write(hospital.EXAMS[-1], tmp_path)[0]
    window.find_element(By.ID, "dicom").send_keys(str(file))
    click(window, "form.body button.primary")
    wait_for_text(window, "would fire")
    check(window, "try-file")
    write_rule(window, filled, DRAFT)
    window.find_element(By.ID, "dicom").send_keys(str(file))
    click(window, "button[formaction='/routing/rules/try-file']")
    wait_for_text(window, "only the draft does it")
    check(window, "try-file-draft")
    window.execute_script("scrollTo(0, document.body.scrollHeight)")
    check(window, "try-file-tags")


def test_a_new_key(filled: RunningGateway, window: Chrome) -> None:
    as_admin(window, filled)
    window.get(filled.url + "/keys")
    fill(window, label="Nightly export")
    click(window, "form.body button.primary")
    wait_for_text(window, "It is shown only now")
    check(window, "key-new")


def test_a_research_project(filled: RunningGateway, window: Chrome) -> None:
    as_admin(window, filled)
    window.get(filled.url + "/anonymize/projects/new")
    fill(window, name="LUNG26", description="Lung nodules in screening CT, 2026 to 2028")
    click(window, "input[name=retain_patient_characteristics]")
    check(window, "research-project-new")
    go_by(window, "form.body button.primary")
    wait_for_text(window, "New project")
    check(window, "research-projects")
    click(window, "a[aria-label='Look up a pseudonym of LUNG26']")
    wait_for_text(window, "Pseudonym")
    check(window, "identity")
    window.get(filled.url + "/anonymize/projects")
    click_link(window, "LUNG26")
    wait_for_text(window, "Delete project")
    check(window, "research-project")


def test_a_link_to_a_study(filled: RunningGateway, window: Chrome, database: Database) -> None:
    as_admin(window, filled)
    open_study(window, filled, "Lindqvist")
    click(window, "form[action$='/links'] button")
    wait_for_text(window, "shown only now")
    check(window, "link-new")
    open_study(window, filled, "Lindqvist")
    window.execute_script("document.querySelector('[aria-labelledby=sharing]').scrollIntoView()")
    check(window, "sharing")
    exam = next(exam for exam in hospital.EXAMS if exam.patient.startswith("Lindqvist"))
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    with database.tenant_session(TENANT) as session:
        link = share_links.create(session, TENANT, exam.study_uid, tomorrow, ADMIN, with_code=True)
    window.delete_all_cookies()
    window.get(f"{filled.url}/s/{link.token}")
    check(window, "link")
    fill(window, code=link.code)
    click(window, "button.primary")
    wait_for_text(window, "This visit ends")
    check(window, "link-study")


def test_an_invitation(filled: RunningGateway, window: Chrome, database: Database) -> None:
    with database.tenant_session(TENANT) as session:
        anna = Principal(ADMIN, Role.OWNER, TENANT)
        token = invitations.invite(session, anna, TENANT, "new@riverside.example", Role.MEMBER)
    window.delete_all_cookies()
    window.get(f"{filled.url}/invitations/{token}")
    check(window, "invitation")


@pytest.mark.parametrize(
    ("name", "path"), [("error-404", "/studies/1.2.3"), ("error-403", "/tenants")]
)
def test_an_error(filled: RunningGateway, window: Chrome, name: str, path: str) -> None:
    as_admin(window, filled)
    window.get(filled.url + path)
    check(window, name, expect_errors=True)


def test_signing_in(filled: RunningGateway, window: Chrome) -> None:
    window.get(filled.url + "/sign-in")
    check(window, "sign-in")
    sign_in(window, filled, "wrong password")
    wait_for_text(window, "E-mail or password is wrong.")
    check(window, "sign-in-error", expect_errors=True)


def test_in_the_dark(filled: RunningGateway, window: Chrome) -> None:
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    window.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    as_admin(window, filled)
    for name in ("studies", "deliveries", "keys", "rules", "rule-text", "crosswalk"):
        window.get(filled.url + TENANT_PAGES[name])
        check(window, f"{name}-dark")
    open_study(window, filled, "Lindqvist")
    check(window, "study-dark")
    window.execute_script("document.querySelector('.flow').scrollIntoView({block: 'center'})")
    check(window, "study-flow-dark")


def test_whatever_the_keyboard_reaches_shows_that_it_has_the_focus(
    filled: RunningGateway, window: Chrome
) -> None:
    enter(window, filled, TENANT)
    paths = ("/studies", "/routing/destinations", "/routing/rules/new", "/people")
    for path in (*paths, "/routing/rules/text", "/routing/rules/crosswalks/accessions"):
        window.get(filled.url + path)
        places = list(reached_by_keyboard(window))
        assert len(places) > 10
        assert [unmarked for unmarked in places if unmarked] == [], path


def reached_by_keyboard(browser: Chrome, most: int = 150) -> Iterator[str]:
    """What `FOCUS` says of each place to which Tab leads through the page."""
    for _ in range(most):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        said = browser.execute_script(FOCUS)
        if said is None:
            return
        yield str(said)
    raise AssertionError("Tab does not come to an end")


# The element with the focus, if no outline is drawn around it that differs from what is behind
# (contrast 3 to 1, WCAG 2.2 criterion 2.4.13); '' if there is one; null when nothing has the focus.
FOCUS = """
const it = document.activeElement;
if (it === document.body) return null;
const channels = colour => colour.match(/[0-9.]+/g).map(Number);
const light = colour => {
  const [r, g, b] = channels(colour).slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
};
const style = getComputedStyle(it);
let behind = parseFloat(style.outlineOffset) < 0 ? it : it.parentElement;
const clear = element => channels(getComputedStyle(element).backgroundColor)[3] === 0;
while (clear(behind)) behind = behind.parentElement;
const pair = [style.outlineColor, getComputedStyle(behind).backgroundColor].map(light);
const drawn = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
return drawn && Math.max(...pair) / Math.min(...pair) >= 3 ? "" : it.outerHTML.slice(0, 120);
"""
