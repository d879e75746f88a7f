"""A gateway that speaks nothing without TLS, and a limit of requests that is soon met."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from gateway.phantom import ct_phantom
from tests.acceptance.conftest import RunningGateway, make_gateway, study_uid_of
from tests.certificates import Authority, Pair
from tests.ports import free_port

BURST = 40


@dataclass
class EncryptedGateway(RunningGateway):
    """Over https, with the certificate that it made for itself as the one authority."""

    dicom_tls_port: int = 0
    ct1: Pair | None = field(default=None)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.http_port}"

    @property
    def certificate(self) -> Path:
        return self.data / "tls/generated.pem"

    def is_ready(self) -> bool:
        try:
            with self.client() as client:
                return client.get("/health").status_code == 200
        except (httpx.TransportError, FileNotFoundError):
            return False

    def client(self, key: str = "") -> httpx.Client:
        """A client that checks the certificate as strictly as Python does."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        trusted = ssl.create_default_context(cafile=self.certificate)
        return httpx.Client(base_url=self.url, headers=headers, verify=trusted, timeout=30)


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EncryptedGateway]:
    authority = Authority(tmp_path_factory.mktemp("ca"), "hospital")
    port = free_port()
    gateway = make_gateway(
        EncryptedGateway,
        tls="generated",
        dicom_port="0",
        dicom_tls_port=str(port),
        dicom_tls_ca=str(authority.ca),
        rate_limit="1",
        rate_burst=str(BURST),
    )
    gateway.dicom_tls_port = port
    gateway.ct1 = authority.sign("ct1")
    gateway.argonath("certificate", "add", "north", "CT1", gateway.ct1.fingerprint)
    yield gateway
    gateway.stop()


def test_the_portal_is_reached_by_https_alone(encrypted: EncryptedGateway) -> None:
    with encrypted.client() as client:
        assert client.get("/sign-in").status_code == 200
    plain = httpx.get(f"http://localhost:{encrypted.http_port}/sign-in?next=/studies")
    assert plain.status_code == 307
    assert plain.headers["Location"] == f"{encrypted.url}/sign-in?next=/studies"


def test_what_is_older_than_tls_1_2_is_refused(encrypted: EncryptedGateway) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    for port in (encrypted.http_port, encrypted.dicom_tls_port):
        with (
            socket.create_connection(("localhost", port)) as connection,
            pytest.raises(ssl.SSLError),
        ):
            old.wrap_socket(connection)


def test_who_signs_in_gets_a_cookie_for_https_alone(encrypted: EncryptedGateway) -> None:
    with encrypted.client() as client:
        token = client.get("/sign-in").text.split('name="csrf_token" value="')[1].split('"')[0]
        form = {"email": encrypted.north_email, "password": encrypted.admin_password}
        answer = client.post(
            "/sign-in",
            data=form | {"csrf_token": token},
            headers={"Accept": "text/html", "Referer": f"{encrypted.url}/sign-in"},
        )
    assert answer.status_code == 303, answer.text
    cookies = answer.headers.get_list("Set-Cookie")
    assert cookies
    assert all("Secure" in cookie for cookie in cookies)


def test_the_welcome_and_the_status_say_https(encrypted: EncryptedGateway) -> None:
    assert f"Portal      {encrypted.url}/" in encrypted.argonath("welcome")
    assert encrypted.argonath("status").startswith(f"Gateway: ready, {encrypted.url}")


def test_dicomweb_works_and_names_its_resources_by_https(encrypted: EncryptedGateway) -> None:
    key = encrypted.argonath("api-key", "create", "--tenant", "north")
    with encrypted.client(key) as client:
        found = client.get("/dicom-web/studies").json()
        (study,) = found[0]["0020000D"]["Value"]
        metadata = client.get(f"/dicom-web/studies/{study}/metadata").text
    assert f"{encrypted.url}/dicom-web/" in metadata
    assert "http://" not in metadata


def test_a_burst_is_refused_with_the_time_to_wait_and_nobody_else_is_affected(
    encrypted: EncryptedGateway,
) -> None:
    keys = [encrypted.argonath("api-key", "create", "--tenant", "north") for _ in "ab"]
    with encrypted.client(keys[0]) as one, encrypted.client(keys[1]) as other:
        answers = [one.get("/dicom-web/studies?limit=1") for _ in range(2 * BURST)]
        statuses = {answer.status_code for answer in answers}
        assert statuses == {200, 429}
        assert answers[BURST // 2].status_code == 200
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.headers["Retry-After"] == "1"
        assert refused.headers["Content-Type"] == "application/json"
        assert json.loads(refused.text)["retry"] is True
        assert json.loads(refused.text)["cure"]
        assert other.get("/dicom-web/studies?limit=1").status_code == 200
        assert encrypted.is_ready()
        encrypted.wait_until(lambda: one.get("/dicom-web/studies?limit=1").status_code == 200, 10)
    log = (encrypted.data / "log/nginx.log").read_text()
    assert "limit=1" not in log
    assert keys[0] not in log


def test_a_burst_at_the_portal_is_refused_the_same_way(encrypted: EncryptedGateway) -> None:
    key = encrypted.argonath("api-key", "create", "--tenant", "north")
    with encrypted.client(key) as client:
        answers = [client.get("/static/argonath.css") for _ in range(2 * BURST)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert {answer.json()["error"] for answer in refused} == {"TooManyRequests"}


def test_dicom_without_tls_stores_nothing_and_finds_nothing(
    encrypted: EncryptedGateway, tmp_path: Path
) -> None:
    environment = (encrypted.data / "run/environment").read_text()
    plain = environment.split("ARGONATH_DICOM_PORT=")[1].split("\n")[0]
    assert encrypted.ct1 is not None
    file = tmp_path / "one.dcm"
    file.write_bytes(ct_phantom(1, seed=uuid.uuid4().hex)[0])
    words = ["-R", "-aec", "NORTH", "-aet", "CT1", "localhost"]
    sent = subprocess.run(["/usr/bin/storescu", *words, plain, file], check=False)
    assert sent.returncode != 0
    key = encrypted.argonath("api-key", "create", "--tenant", "north")
    with encrypted.client(key) as client:
        asked = f"/dicom-web/studies?StudyInstanceUID={study_uid_of(file)}"
        assert client.get(asked).json() == []
        tls = ["+tls", encrypted.ct1.key, encrypted.ct1.certificate, "+cf", encrypted.certificate]
        by_tls = ["/usr/bin/storescu", *tls, *words, str(encrypted.dicom_tls_port), file]
        encrypted.wait_until(lambda: subprocess.run(by_tls, check=False).returncode == 0)
        assert len(client.get(asked).json()) == 1
