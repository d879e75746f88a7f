"""OHIF at /viewer/ in a real browser: a click on a study, and its image is there.

The phantom's greys are known, so a drawn frame is told from any other picture.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from gateway import identity
from gateway.db import Database
from gateway.identity import Role
from tests.acceptance.browsing import click, fill, sign_in, wait_for, wait_for_text
from tests.acceptance.conftest import RunningGateway, study_uid_of
from tests.conftest import SHARED_DATA

SHOTS = os.environ.get("ARGONATH_SCREENSHOTS")
REAL_CT = SHARED_DATA / "ct-philips-phantom-58"
PASSWORD = "a password for the viewer"
CANVAS = ".cornerstone-canvas"
# Window 200/1200 of the phantom's file: air is black, water (0 HU) a third of white, bone white.
WATER, BONE = 85, 255


@pytest.fixture(scope="module")
def members(gateway: RunningGateway) -> dict[str, str]:
    """The e-mail of a member of each demonstration tenant."""
    emails = {tenant: f"reader@{tenant}.example" for tenant in ("north", "south")}
    database = Database(
        f"postgresql://argonath_app@/argonath?host={gateway.data}/run/postgresql", max_size=1
    )
    with database.system_session("members") as session:
        for tenant, email in emails.items():
            person = identity.create_person(session, email, PASSWORD)
            identity.add_member(session, person, tenant, Role.MEMBER)
    database.close()
    return emails


@pytest.fixture
def chromium() -> Iterator[Chrome]:
    """A headless Chromium with WebGL in software, which notes its console and every request."""
    options = ChromeOptions()
    for argument in (
        "headless", "no-sandbox", "use-gl=angle", "use-angle=swiftshader",
        "enable-unsafe-swiftshader", "ignore-gpu-blocklist", "disable-quic", "no-first-run",
        "disable-background-networking", "disable-component-update", "disable-sync",
        "disable-dev-shm-usage", "window-size=1280,800",
    ):  # fmt: skip
        options.add_argument(f"--{argument}")
    options.binary_location = "/usr/bin/chromium"
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options, ChromeService("/usr/bin/chromedriver"))
    driver.implicitly_wait(5)  # for what a click brings
    yield driver
    driver.quit()


def address_of(study: str) -> str:
    return f"/viewer/viewer?StudyInstanceUIDs={study}"


def open_by_click(browser: Chrome, gateway: RunningGateway, email: str, study: str) -> None:
    """From the sign-in page to the viewer, as a person goes."""
    sign_in(browser, gateway, PASSWORD, email)
    browser.get(f"{gateway.url}/studies/{study}")
    browser.find_element(By.LINK_TEXT, "Open in viewer").click()
    wait_for(browser, lambda b: b.find_elements(By.CSS_SELECTOR, CANVAS), 90)


def drawn(browser: Chrome) -> np.ndarray:
    """Grey values of the first viewport as it is on the screen, rows x columns, 0 to 255."""
    picture = browser.find_element(By.CSS_SELECTOR, CANVAS).screenshot_as_png
    return np.asarray(Image.open(BytesIO(picture)).convert("L"))


def wait_until_drawn(browser: Chrome, holds: Callable[[np.ndarray], bool]) -> None:
    wait_for(browser, lambda b: holds(drawn(b)), 90)


def hide_the_notice(browser: Chrome) -> None:
    """OHIF's own, that it is for investigational use only; it covers a part of the picture."""
    click(browser, "[data-cy='confirm-and-hide-button']")


def complaints(browser: Chrome) -> list[str]:
    """What the browser refused or failed to load, and errors of scripts."""
    lines = browser.get_log("browser")  # type: ignore[no-untyped-call]
    said = [line["message"] for line in lines if line["level"] == "SEVERE"]
    said += [line["message"] for line in lines if "Content Security Policy" in line["message"]]
    return said


def hosts_asked(browser: Chrome) -> set[str]:
    """Scheme, host and port of every request that left the browser."""
    found = set()
    for entry in browser.get_log("performance"):  # type: ignore[no-untyped-call]
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            url = httpx.URL(message["params"]["request"]["url"])
            if url.scheme in ("http", "https", "ws", "wss"):
                found.add(f"{url.scheme}://{url.netloc.decode()}")
    return found


def test_one_click_on_a_study_shows_its_first_image_with_the_right_greys(
    gateway: RunningGateway, chromium: Chrome, members: dict[str, str], tmp_path: Path
) -> None:
    study = gateway.send_phantom(tmp_path, "Viewer^Vera", slices=5)
    open_by_click(chromium, gateway, members["north"], study)
    hide_the_notice(chromium)

    def is_the_phantom(greys: np.ndarray) -> bool:
        counts = np.bincount(greys.ravel(), minlength=256)
        water, bone = counts[WATER - 2 : WATER + 3].sum(), counts[BONE - 2 :].sum()
        # On the axis there is water; a cylinder of 108 in a square of 128 covers 56 %.
        return bool(water > 0.4 * 0.25 * greys.size and 0 < bone < water)

    wait_until_drawn(chromium, is_the_phantom)
    assert complaints(chromium) == []
    assert hosts_asked(chromium) == {gateway.url}


@pytest.mark.parametrize("name", ["MR_small_jpeg_ls_lossless.dcm", "MR_small_jp2klossless.dcm"])
def test_what_orthanc_cannot_decode_is_decoded_in_the_browser(
    gateway: RunningGateway, chromium: Chrome, members: dict[str, str], name: str
) -> None:
    dataset = dcmread(str(get_testdata_file(name, download=False)))
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    gateway.dicomweb(gateway.north_key).store_instances([dataset])
    sign_in(chromium, gateway, PASSWORD, members["north"])
    wait_for(chromium, lambda b: "/sign-in" not in b.current_url)
    chromium.get(gateway.url + address_of(dataset.StudyInstanceUID))
    wait_for(chromium, lambda b: b.find_elements(By.CSS_SELECTOR, CANVAS), 90)
    hide_the_notice(chromium)
    wait_until_drawn(chromium, lambda greys: np.unique(greys).size > 50)
    assert complaints(chromium) == []


def test_a_real_ct_is_shown_and_scrolled(
    gateway: RunningGateway, chromium: Chrome, members: dict[str, str]
) -> None:
    if not REAL_CT.is_dir():
        pytest.skip("no real CT here: name its parent folder in ARGONATH_TEST_DATA")
    files = sorted(REAL_CT.iterdir())
    assert gateway.storescu(*files).returncode == 0
    open_by_click(chromium, gateway, members["north"], study_uid_of(files[0]))
    hide_the_notice(chromium)

    def has_many_greys(greys: np.ndarray) -> bool:
        return np.unique(greys).size > 50

    wait_until_drawn(chromium, has_many_greys)
    first = drawn(chromium)
    canvas = chromium.find_element(By.CSS_SELECTOR, CANVAS)
    for _ in range(len(files) // 2):
        ActionChains(chromium).move_to_element(canvas).send_keys(Keys.ARROW_DOWN).perform()
    wait_until_drawn(chromium, lambda greys: has_many_greys(greys) and (greys != first).any())
    assert complaints(chromium) == []
    if SHOTS:
        chromium.save_screenshot(str(Path(SHOTS) / "viewer.png"))


def test_whoever_is_not_signed_in_comes_back_from_sign_in_and_sees_no_study_of_others(
    gateway: RunningGateway, chromium: Chrome, members: dict[str, str], tmp_path: Path
) -> None:
    study = gateway.send_phantom(tmp_path, "Secret^Sam")
    chromium.get(gateway.url + address_of(study))
    assert "/sign-in" in chromium.current_url
    fill(chromium, email=members["south"], password=PASSWORD)
    click(chromium, "button.primary")
    wait_for(chromium, lambda b: "/sign-in" not in b.current_url)
    wait_for_text(chromium, "not available", 90)
    assert "Secret" not in chromium.page_source
    chromium.get(gateway.url + "/viewer/")
    wait_for_text(chromium, "Study List", 90)
    wait_for_text(chromium, "CompressedSamples", 90)  # south's own sample
    assert "Secret" not in chromium.page_source


def test_a_session_that_ended_leads_from_the_viewer_to_sign_in(
    gateway: RunningGateway, chromium: Chrome, members: dict[str, str]
) -> None:
    sign_in(chromium, gateway, PASSWORD, members["north"])
    wait_for(chromium, lambda b: "/sign-in" not in b.current_url)
    chromium.get(gateway.url + "/viewer/")
    wait_for_text(chromium, "Phantom", 90)
    chromium.delete_all_cookies()
    wait_for(chromium, lambda b: b.find_elements(By.XPATH, "//tr[contains(., 'Phantom')]"))
    chromium.find_element(By.XPATH, "//tr[contains(., 'Phantom')]").click()
    wait_for(chromium, lambda b: "/sign-in?next=" in b.current_url, 60)


def test_its_files_come_compressed_and_are_kept_by_the_browser(gateway: RunningGateway) -> None:
    page = httpx.get(f"{gateway.url}/viewer/", headers={"Accept": "text/html"})
    assert page.status_code == 302
    for name, kept in (("app.bundle.css", "no-cache"), ("37fa160cc3a47cfd.wasm", "immutable")):
        answer = gateway.get(f"/viewer/{name}")
        assert answer.status_code == 200
        assert answer.headers["Content-Encoding"] == "gzip"
        assert kept in answer.headers["Cache-Control"]
    assert gateway.get("/viewer/nothing.js").status_code == 404
