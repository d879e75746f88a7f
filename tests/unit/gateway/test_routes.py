"""Which action a request is; an unknown path is the raw archive, which tenants cannot reach."""

from __future__ import annotations

import pytest

from gateway.access import Action
from gateway.routes import action_of, token_of


@pytest.mark.parametrize(
    "path",
    [
        "/dicom-web/studies",
        "/dicom-web/series",
        "/dicom-web/instances",
        "/dicom-web/studies/1.2.3",
        "/dicom-web/studies/1.2.3/metadata",
        "/dicom-web/studies/1.2/series/3.4/instances/5.6/frames/1,2",
        "/dicom-web/studies/1.2/series/3.4/instances/5.6/bulk/00091010/1/00091011",
        "/wado",
    ],
)
def test_reading_by_dicomweb(path: str) -> None:
    assert action_of("GET", path) is Action.READ_STUDY


@pytest.mark.parametrize("path", ["/dicom-web/studies", "/dicom-web/studies/1.2.3"])
def test_storing_by_stow(path: str) -> None:
    assert action_of("POST", path) is Action.STORE_STUDY


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/studies"),
        ("GET", "/system"),
        ("GET", "/app/explorer.html"),
        ("POST", "/tools/find"),
        ("POST", "/argonath/admit"),
        ("POST", "/instances"),
        ("DELETE", "/dicom-web/studies/1.2.3"),
        ("PUT", "/dicom-web/studies"),
        ("GET", "/dicom-web/servers"),
        ("POST", "/dicom-web/servers/x/stow"),
        ("GET", "/dicom-web/info"),
        ("GET", "/dicom-web/studies/1.2.3/../../servers"),
        ("GET", "//dicom-web/studies"),
        ("GET", "/dicom-web/studies/%2e%2e/servers"),
        ("GET", "/DICOM-WEB/studies"),
        ("GET", "/dicom-web/studiesx"),
        ("GET", "/wado/x"),
        ("GET", "/dicom-web/studies/1.2.3\n"),
    ],
)
def test_everything_else_is_the_raw_archive(method: str, path: str) -> None:
    assert action_of(method, path) is Action.RAW_ARCHIVE


def test_a_bearer_token_comes_before_a_cookie() -> None:
    assert token_of("Bearer abc", "argonath_session=def") == "abc"
    assert token_of("bearer abc", "") == "abc"


def test_a_session_cookie_is_a_token() -> None:
    assert token_of("", "other=1; argonath_session=def") == "def"


@pytest.mark.parametrize("header", ["", "Basic abc", "Bearer", "Bearerabc"])
def test_anything_else_is_no_token(header: str) -> None:
    assert token_of(header, "") == ""
