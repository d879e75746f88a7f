"""docker/start/prepare: which settings of TLS and rate limits there are, and what nginx gets."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from tests.certificates import Authority, Pair
from tests.scripts import load


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load("docker/start/prepare")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"), "ca")


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.sign("gateway")


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment that says where the data are, and nothing else of ours."""
    for name in list(os.environ):
        if name.startswith("ARGONATH_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ARGONATH_DATA", str(tmp_path))
    return monkeypatch


def nginx_accepts(script: ModuleType) -> str:
    """The configuration of this environment, which nginx itself has tried."""
    values = script.environment()
    script.prepare(values)
    data = Path(values["ARGONATH_DATA"])
    done = subprocess.run(
        ["/usr/sbin/nginx", "-t", "-e", "stderr", "-p", data / "run/nginx", "-c",
         data / "run/nginx.conf"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return (data / "run/nginx.conf").read_text()


def test_without_a_word_on_it_there_is_no_tls(
    script: ModuleType, given: pytest.MonkeyPatch
) -> None:
    values = script.environment()
    assert not [name for name in values if "TLS" in name or "SECURE" in name]
    assert "ssl" not in nginx_accepts(script)


def test_ones_own_certificate_is_served_with_hsts_and_secure_cookies(
    script: ModuleType, given: pytest.MonkeyPatch, pair: Pair
) -> None:
    given.setenv("ARGONATH_TLS_CERT", str(pair.certificate))
    given.setenv("ARGONATH_TLS_KEY", str(pair.key))
    assert script.environment()["ARGONATH_SECURE_COOKIES"] == "true"
    configuration = nginx_accepts(script)
    assert f"ssl_certificate {pair.certificate};" in configuration
    assert "Strict-Transport-Security" in configuration


def test_a_generated_certificate_is_made_once_and_without_hsts(
    script: ModuleType, given: pytest.MonkeyPatch
) -> None:
    given.setenv("ARGONATH_TLS", "generated")
    configuration = nginx_accepts(script)
    certificate = Path(script.environment()["ARGONATH_TLS_CERT"])
    first = certificate.read_text()
    assert script.environment()["ARGONATH_TLS_CERT"] == str(certificate)
    assert certificate.read_text() == first
    assert certificate.with_name("generated-key.pem").stat().st_mode & 0o077 == 0
    assert "Strict-Transport-Security" not in configuration


def test_the_dicom_port_takes_the_certificate_of_http_where_it_has_none(
    script: ModuleType, given: pytest.MonkeyPatch, pair: Pair, authority: Authority
) -> None:
    given.setenv("ARGONATH_DICOM_TLS_PORT", "2762")
    given.setenv("ARGONATH_DICOM_TLS_CA", str(authority.ca))
    assert script.environment()["ARGONATH_DICOM_TLS_CERT"].endswith("tls/generated.pem")
    assert "ARGONATH_TLS_CERT" not in script.environment()
    given.setenv("ARGONATH_TLS_CERT", str(pair.certificate))
    given.setenv("ARGONATH_TLS_KEY", str(pair.key))
    assert script.environment()["ARGONATH_DICOM_TLS_KEY"] == str(pair.key)


def test_dicom_port_0_leaves_tls_alone(
    script: ModuleType, given: pytest.MonkeyPatch, authority: Authority
) -> None:
    given.setenv("ARGONATH_DICOM_PORT", "0")
    with pytest.raises(SystemExit, match="set ARGONATH_DICOM_TLS_PORT"):
        script.environment()
    given.setenv("ARGONATH_DICOM_TLS_PORT", "2762")
    given.setenv("ARGONATH_DICOM_TLS_CA", str(authority.ca))
    values = script.environment()
    assert values["ARGONATH_DICOM_PLAIN"] == "false"
    assert 20000 <= int(values["ARGONATH_DICOM_PORT"]) < 30000


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"TLS": "yes"}, "the one value is `generated`"),
        ({"TLS_CERT": "/nonexistent.pem"}, "ARGONATH_TLS_CERT=/nonexistent.pem cannot be read"),
        ({"TLS_CERT": __file__}, "ARGONATH_TLS_KEY= cannot be read"),
        ({"DICOM_TLS_PORT": "2762"}, "ARGONATH_DICOM_TLS_CA= cannot be read"),
    ],
)
def test_what_is_missing_stops_the_start_with_its_name(
    script: ModuleType, given: pytest.MonkeyPatch, settings: dict[str, str], said: str
) -> None:
    for name, value in settings.items():
        given.setenv(f"ARGONATH_{name}", value)
    with pytest.raises(SystemExit, match=said):
        script.environment()


def test_a_rate_limit_is_nginxs_and_0_is_none(
    script: ModuleType, given: pytest.MonkeyPatch
) -> None:
    assert "rate=1000r/s" in nginx_accepts(script)
    for shown in ("$http_authorization", "$cookie_argonath_session", "$cookie_argonath_link"):
        assert re.search(rf'limit_req_zone "[^"]*{re.escape(shown)}', nginx_accepts(script))
    given.setenv("ARGONATH_RATE_LIMIT", "0")
    assert "limit_req" not in nginx_accepts(script)
    given.setenv("ARGONATH_RATE_LIMIT", "1; }")
    with pytest.raises(SystemExit, match="ARGONATH_RATE_LIMIT"):
        nginx_accepts(script)
