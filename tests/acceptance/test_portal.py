"""The portal in a real browser, against the whole gateway."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tests.acceptance.conftest import RunningGateway

SHOTS = os.environ.get("ARGONATH_SCREENSHOTS")


def wait_for(browser: Chrome, condition: Callable[[Chrome], object], seconds: int = 30) -> None:
    WebDriverWait(browser, seconds).until(condition)


def shoot(browser: Chrome, name: str) -> None:
    """Keep a picture for the README, where somebody asks for it."""
    if SHOTS:
        browser.save_screenshot(str(Path(SHOTS) / f"{name}.png"))


def text_of(browser: Chrome) -> str:
    return browser.find_element(By.TAG_NAME, "body").text


def sign_in(browser: Chrome, gateway: RunningGateway, password: str = "") -> None:
    browser.delete_all_cookies()
    browser.get(gateway.url + "/sign-in")
    browser.find_element(By.ID, "email").send_keys(gateway.admin_email)
    browser.find_element(By.ID, "password").send_keys(password or gateway.admin_password)
    browser.find_element(By.CSS_SELECTOR, "button.primary").click()


def enter_north(browser: Chrome, gateway: RunningGateway) -> None:
    sign_in(browser, gateway)
    wait_for(browser, lambda b: "/sign-in" not in b.current_url)
    browser.get(gateway.url + "/enter")
    for button in browser.find_elements(By.CSS_SELECTOR, "button[aria-label='Enter north']"):
        button.click()
        wait_for(browser, lambda b: not b.current_url.endswith("/enter"))
        break
    browser.get(gateway.url + "/studies")
    wait_for(browser, lambda b: b.title.startswith("Studies"))


def a_study(name: str) -> Dataset:
    """A small CT image of our own making."""
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = CTImageStorage
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(), generate_uid()
    image.PatientName, image.PatientID = name, "PORTAL-1"
    image.Modality, image.StudyDate, image.SeriesNumber = "CT", "20260102", 1
    image.StudyDescription = "Portal test"
    image.Rows = image.Columns = 64
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit, image.PixelRepresentation, image.SamplesPerPixel = 15, 0, 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.WindowCenter, image.WindowWidth = 2048, 4096
    image.PixelData = np.arange(64 * 64, dtype="<u2").tobytes()
    return image


def send(gateway: RunningGateway, image: Dataset, folder: Path) -> None:
    path = folder / "image.dcm"
    image.save_as(path, enforce_file_format=True)
    assert gateway.storescu(path).returncode == 0


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
    shoot(browser, "sign-in")
    browser.switch_to.active_element.send_keys(gateway.admin_email, Keys.TAB)
    browser.switch_to.active_element.send_keys(gateway.admin_password, Keys.ENTER)
    wait_for(browser, lambda b: "/sign-in" not in b.current_url)
    browser.get(gateway.url + "/")
    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    assert browser.switch_to.active_element.get_attribute("class") == "skip"
    shoot(browser, "gateway")


def test_a_study_that_arrived_stands_in_the_list_and_its_page_shows_an_image(
    gateway: RunningGateway, browser: Chrome, tmp_path: Path
) -> None:
    image = a_study("Lovelace^Ada")
    send(gateway, image, tmp_path)
    enter_north(browser, gateway)
    link = f"a[href='/studies/{image.StudyInstanceUID}']"
    assert browser.find_element(By.CSS_SELECTOR, link).text == "Lovelace, Ada"
    shoot(browser, "studies")
    browser.find_element(By.CSS_SELECTOR, link).click()
    wait_for(
        browser,
        lambda b: b.execute_script(
            "return document.querySelector('.picture img')?.naturalWidth > 0"
        ),
    )
    assert "Portal test" in text_of(browser)
    shoot(browser, "study")


def test_a_name_that_is_a_script_is_shown_as_text(
    gateway: RunningGateway, browser: Chrome, tmp_path: Path
) -> None:
    image = a_study("<script>alert(1)</script>^Eve")
    send(gateway, image, tmp_path)
    enter_north(browser, gateway)
    for path in ("/", "/studies", f"/studies/{image.StudyInstanceUID}"):
        browser.get(gateway.url + path)
        # Were it run, the open dialog would make the next line raise.
        assert "<script>alert(1)</script>, Eve" in text_of(browser)


@pytest.mark.parametrize(
    "page",
    [
        "/",
        "/studies",
        "/keys",
        "/audit",
        "/extensions",
        "/tenants",
        "/tenants/north",
        "/routing/destinations",
        "/routing/destinations/new",
        "/routing/rules",
        "/routing/deliveries",
    ],
)
def test_every_page_fits_1280_and_reports_nothing_to_the_console(
    gateway: RunningGateway, browser: Chrome, page: str
) -> None:
    enter_north(browser, gateway)
    browser.get_log("browser")  # type: ignore[no-untyped-call]  # what was before
    browser.get(gateway.url + page)
    assert browser.find_elements(By.TAG_NAME, "h1")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 1280
    lines = browser.get_log("browser")  # type: ignore[no-untyped-call]
    said = [line for line in lines if line["level"] == "SEVERE"]
    assert said == []
    shoot(browser, page.strip("/").replace("/", "-") or "overview")


def test_a_key_made_in_the_portal_reads_and_once_revoked_gets_401_as_json(
    gateway: RunningGateway, browser: Chrome
) -> None:
    enter_north(browser, gateway)
    browser.get(gateway.url + "/keys")
    browser.find_element(By.ID, "label").send_keys("acceptance", Keys.ENTER)
    wait_for(browser, lambda b: b.find_elements(By.ID, "key"))
    header = {"Authorization": f"Bearer {browser.find_element(By.ID, 'key').text}"}
    assert httpx.get(gateway.url + "/dicom-web/studies", headers=header).status_code == 200
    browser.find_element(By.CSS_SELECTOR, "button[aria-label='Revoke acceptance']").click()
    browser.switch_to.alert.accept()
    wait_for(browser, lambda b: "revoked" in text_of(b))
    answer = httpx.get(gateway.url + "/dicom-web/studies", headers=header)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.json()["error"] == "NotAuthenticated"
    assert answer.json()["cure"]
