"""One whole gateway, as `make run` starts it, and the tools of a modality to try it with.

dcmtk is called by its full path: pynetdicom installs tools of the same names.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from dicomweb_client.api import DICOMwebClient
from selenium import webdriver

from gateway.archive import Archive
from gateway.phantom import ct_phantom
from tests.ports import free_port

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass
class RunningGateway:
    """A gateway of our own on free ports, and what a person would do with it."""

    data: Path
    http_port: int
    dicom_port: int
    process: subprocess.Popen[bytes] | None = None
    admin_email: str = "admin@argonath.example"
    north_email: str = "north@argonath.example"
    north_key: str = ""
    south_key: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def admin_password(self) -> str:
        return (self.data / "secrets/first_password").read_text().strip()

    def start(self) -> None:
        """As `make run` does, and wait until it is ready."""
        log = (self.data / "gateway.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, CHECKOUT / "docker/start/gateway"],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        self.wait_until(self.is_ready, 120)

    def stop(self) -> None:
        """As Ctrl-C does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)

    def is_ready(self) -> bool:
        """Whether the health check says that every part is ready."""
        try:
            return httpx.get(f"{self.url}/health", timeout=10).status_code == 200
        except httpx.TransportError:
            return False

    def inner_environment(self) -> dict[str, str]:
        """As the parts of the gateway have it."""
        environment = {**self.environment}
        for line in (self.data / "run/environment").read_text().splitlines():
            name, _, value = line.removeprefix("export ").partition("=")
            environment[name] = value.strip("'")
        return environment

    def archive(self, tenant_id: str) -> Archive:
        """As our own processes have it."""
        token = (self.data / "secrets/internal_token").read_text().strip()
        return Archive(self.inner_environment()["ARGONATH_ORTHANC_URL"], token, tenant_id)

    def argonath(self, *words: str) -> str:
        """What the command `argonath` prints."""
        done = subprocess.run(
            [sys.executable, "-m", "gateway.cli", *words],
            cwd=CHECKOUT,
            env=self.inner_environment(),
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def kill(
        self, program: str, when: Callable[[], object] = lambda: True, *, group: bool = False
    ) -> None:
        """End a part at once, as a crash would, but not before `when` holds.

        `group`: with the processes that it started.
        """
        pid = subprocess.run(
            ["supervisorctl", "-s", f"unix://{self.data}/run/supervisor.sock", "pid", program],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": ""},
        ).stdout
        self.wait_until(when)
        assert int(pid) > 0, f"{program} does not run"
        (os.killpg if group else os.kill)(int(pid), signal.SIGKILL)

    def dicomweb(self, key: str) -> DICOMwebClient:
        """A client with an API key."""
        return DICOMwebClient(f"{self.url}/dicom-web", headers={"Authorization": f"Bearer {key}"})

    def get(self, path: str, key: str = "", **headers: str) -> httpx.Response:
        """GET with an API key, or without one."""
        if key:
            headers["Authorization"] = f"Bearer {key}"
        return httpx.get(self.url + path, headers=headers, timeout=30)

    def storescu(
        self, *files: Path, called: str = "NORTH", calling: str = "CT1", port: int = 0
    ) -> subprocess.CompletedProcess[str]:
        """Send files as a modality does; the answer holds what dcmtk printed.

        `port`: another than that of the gateway, which leads to it.
        """
        return subprocess.run(
            ["/usr/bin/storescu", "-v", "-R", "-aec", called, "-aet", calling, "127.0.0.1",
             str(port or self.dicom_port), *map(str, files)],
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip

    def send_phantom(
        self, folder: Path, name: str, *, slices: int = 2, called: str = "NORTH"
    ) -> str:
        """Store a phantom study of patient `name`; its StudyInstanceUID."""
        seed = uuid.uuid4().hex
        files = []
        for index, content in enumerate(
            ct_phantom(slices, seed=seed, patient_name=name, patient_id=f"ID-{seed[:8]}")
        ):
            file = folder / f"{seed}-{index}.dcm"
            file.write_bytes(content)
            files.append(file)
        sent = self.storescu(*files, called=called)
        assert sent.returncode == 0, sent.stdout + sent.stderr
        return study_uid_of(files[0])

    def wait_until_known(self, called: str, folder: Path) -> None:
        """Until the node has heard of a tenant, by its AE title: a study of its own is stored."""
        file = folder / "known.dcm"
        file.write_bytes(ct_phantom(1, seed=uuid.uuid4().hex)[0])
        self.wait_until(lambda: self.storescu(file, called=called).returncode == 0)

    @staticmethod
    def wait_until(holds: Callable[[], object], seconds: float = 30) -> None:
        """Return when `holds` is true; fail after `seconds`."""
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end or holds(), f"not within {seconds} s"
            time.sleep(0.1)


def study_uid_of(file: Path) -> str:
    """(0020,000D) of a DICOM file."""
    from pydicom import dcmread

    return str(dcmread(file, stop_before_pixels=True).StudyInstanceUID)


def make_gateway[G: RunningGateway](
    kind: type[G] = RunningGateway,  # type: ignore[assignment]
    **settings: str,
) -> G:
    """Start a gateway of our own; `settings` are ARGONATH_* values by their lower-case names."""
    # A socket's path has at most 108 characters, so not below pytest's own folder.
    data = Path("/data") / f"gw-{uuid.uuid4().hex[:6]}"
    data.mkdir(parents=True, mode=0o700)
    gateway = kind(data, free_port(), free_port())
    gateway.environment = {
        **os.environ,
        "ARGONATH_DATA": str(data),
        "ARGONATH_HTTP_PORT": str(gateway.http_port),
        "ARGONATH_DICOM_PORT": str(gateway.dicom_port),
        **{f"ARGONATH_{name.upper()}": value for name, value in settings.items()},
    }
    gateway.start()
    log = data / "gateway.log"
    gateway.wait_until(lambda: "Ready after" in log.read_text(), 60)
    return gateway


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those with a browser can be run beside the others."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")


@pytest.fixture(scope="session")
def gateway() -> Iterator[RunningGateway]:
    """The gateway that all acceptance tests share, started once."""
    gateway = make_gateway(stable_after_s="2", retry_delay_s="1")
    gateway.north_key = gateway.argonath("api-key", "create", "--tenant", "north")
    gateway.south_key = gateway.argonath("api-key", "create", "--tenant", "south")
    yield gateway
    gateway.stop()


@pytest.fixture
def browser() -> Iterator[webdriver.Chrome]:
    """A fresh headless Chromium of 1280x800."""
    options = webdriver.ChromeOptions()
    for argument in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
        "disable-background-networking", "disable-component-update", "disable-sync",
        "disable-dev-shm-usage", "window-size=1280,800",
    ):  # fmt: skip
        options.add_argument(f"--{argument}")
    options.binary_location = "/usr/bin/chromium"
    driver = webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))
    driver.implicitly_wait(5)  # for what a click brings
    yield driver
    driver.quit()
