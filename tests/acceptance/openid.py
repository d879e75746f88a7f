"""A real OpenID provider beside the gateway, and what a person does there."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.acceptance.browsing import wait_for
from tests.acceptance.conftest import RunningGateway
from tests.ports import free_port

MODULES = Path("/opt/oidc-provider/node_modules")
SCRIPT = Path(__file__).parent / "oidc_provider/provider.mjs"
AUDIENCE = "urn:argonath:dicomweb"


@dataclass
class RunningProvider:
    """`oidc-provider` on a port of its own."""

    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def settings(self) -> dict[str, str]:
        """What a gateway must be told of it."""
        return {
            "oidc_issuer": self.url,
            "oidc_title": "Hospital",
            "oidc_client_id": "portal",
            "oidc_client_secret": "the portal and the provider know it",
            "oidc_audience": AUDIENCE,
        }

    def start(self, portal: str) -> None:
        """Start it for a portal, with new keys."""
        if not MODULES.is_dir():
            pytest.skip("the OpenID provider is not installed: the build could not fetch it")
        self.process = subprocess.Popen(
            ["node", SCRIPT, MODULES, str(self.port), portal],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        RunningGateway.wait_until(self._answers)

    def stop(self) -> None:
        """End it at once."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def rotate(self) -> None:
        """Sign with another key from now on, and publish only that."""
        httpx.post(f"{self.url}/test/rotate").raise_for_status()

    def asked(self, path: str) -> int:
        """How often a path was asked for since the start."""
        return int(httpx.get(f"{self.url}/test/asked").json().get(path, 0))

    def access_token(self, client: str, resource: str = AUDIENCE) -> str:
        """One for a script (provider.mjs lists them)."""
        answer = httpx.post(
            f"{self.url}/token",
            auth=(client, f"{client}-secret"),
            data={"grant_type": "client_credentials", "resource": resource},
        )
        return str(answer.raise_for_status().json()["access_token"])

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/.well-known/openid-configuration").status_code == 200
        except httpx.TransportError:
            return False


def sign_in_there(browser: Chrome, gateway: RunningGateway, name: str) -> None:
    """From the portal's sign-in page by the provider's pages back to the portal."""
    browser.get(gateway.url + "/sign-in")
    browser.find_element(By.ID, "provider").click()
    at_the_provider(browser, gateway, name)


def at_the_provider(browser: Chrome, gateway: RunningGateway, name: str) -> None:
    """Name, any password, and consent; then wait for the portal."""
    wait_for(browser, lambda b: b.find_elements(By.NAME, "login"))
    browser.find_element(By.NAME, "login").send_keys(name)
    browser.find_element(By.NAME, "password").send_keys("any")
    browser.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
    wait_for(
        browser,
        lambda b: b.current_url.startswith(gateway.url) or not b.find_elements(By.NAME, "password"),
    )
    if not browser.current_url.startswith(gateway.url):
        browser.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
    wait_for(browser, lambda b: b.current_url.startswith(gateway.url))
