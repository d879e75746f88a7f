"""What a person does in the portal with a browser."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx
from selenium.common.exceptions import (
    JavascriptException,
    NoSuchElementException,
    StaleElementReferenceException,
)
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.acceptance.conftest import RunningGateway

# What a live update, or the next page, makes of an element that was found just now.
_REPLACED = (NoSuchElementException, StaleElementReferenceException, JavascriptException)


def wait_for(browser: Chrome, condition: Callable[[Chrome], object], seconds: int = 30) -> None:
    WebDriverWait(browser, seconds, ignored_exceptions=_REPLACED).until(condition)


def text_of(browser: Chrome, selector: str = "body") -> str:
    """What stands there, read in one step: a live update cannot come in between."""
    return str(
        browser.execute_script("return document.querySelector(arguments[0]).innerText", selector)
    )


def click_link(browser: Chrome, text: str) -> None:
    """Click the link of this text, which may be replaced by a live update in the same moment."""
    wait_for(
        browser,
        lambda b: b.execute_script(
            "const link = [...document.links].find(a => a.innerText.trim() === arguments[0]);"
            "link?.click(); return !!link",
            text,
        ),
    )


def wait_for_text(browser: Chrome, text: str, seconds: int = 30) -> None:
    """Until `text` stands somewhere on the page, which may be replaced while we look."""
    wait_for(
        browser,
        lambda b: b.execute_script("return document.body.innerText.includes(arguments[0])", text),
        seconds,
    )


def click(browser: Chrome, selector: str) -> None:
    """Click what may be replaced by a live update in the same moment."""
    wait_for(
        browser,
        lambda b: b.execute_script(
            "const found = document.querySelector(arguments[0]); found?.click(); return !!found",
            selector,
        ),
    )


def go_by(browser: Chrome, selector: str) -> None:
    """Click what leads to another page; that is there when this returns."""
    browser.execute_script("window.isLeft = true")
    click(browser, selector)
    wait_for(browser, lambda b: b.execute_script("return !window.isLeft"))


def click_and_confirm(browser: Chrome, selector: str) -> None:
    """Click what asks "are you sure?", and say yes."""
    wait_for(
        browser,
        lambda b: b.execute_script(
            "const found = document.querySelector(arguments[0]); let asked = false;"
            "window.confirm = () => asked = true; found?.click(); return asked",
            selector,
        ),
    )


def fill(browser: Chrome, **fields: str) -> None:
    """Type into fields by their ids."""
    for name, value in fields.items():
        field = browser.find_element(By.ID, name)
        field.clear()
        field.send_keys(value)


def sign_in(browser: Chrome, gateway: RunningGateway, password: str = "", email: str = "") -> None:
    """Send the form of the sign-in; the page that answers it is there when this returns."""
    browser.delete_all_cookies()
    browser.get(gateway.url + "/sign-in")
    fill(browser, email=email or gateway.admin_email, password=password or gateway.admin_password)
    go_by(browser, "button.primary")


def enter(browser: Chrome, gateway: RunningGateway, tenant: str = "north") -> None:
    """As the system admin, in a tenant."""
    sign_in(browser, gateway)
    browser.get(gateway.url + "/enter")
    browser.find_element(By.CSS_SELECTOR, f"button[aria-label='Enter {tenant}']").click()
    wait_for(browser, lambda b: b.title.startswith("Overview"))


def client_of(gateway: RunningGateway, email: str, password: str) -> httpx.Client:
    """Somebody else, who is signed in too; answers are JSON where a person would see a page."""
    client = httpx.Client(base_url=gateway.url, headers={"Accept": "application/json"}, timeout=30)
    form = client.get("/sign-in").text
    token = re.search(r'name="csrf_token" value="([^"]+)"', form)
    assert token is not None
    filled = {"csrf_token": token[1], "email": email, "password": password}
    assert client.post("/sign-in", data=filled).status_code == 303
    return client
