"""Which action a request is; what is in no row of the table is nobody's to do."""

from __future__ import annotations

import pytest

from gateway.access import POLICY, Action
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


ID = "0123abcd-0123abcd-0123abcd-0123abcd-0123abcd"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/system"),
        ("GET", "/app/explorer.html"),
        ("GET", "/studies"),
        ("GET", f"/studies/{ID}"),
        ("GET", f"/patients/{ID}/studies"),
        ("GET", f"/series/{ID}/attachments/dicom/compressed-md5"),
        ("GET", f"/instances/{ID}/frames/0/raw.gz"),
        ("GET", f"/instances/{ID}/content/0008-1115/0"),
        ("GET", "/tools/labels"),
        ("GET", "/tools/log-level-http"),
        ("GET", "/jobs/1/archive"),
        ("GET", "/dicom-web/servers"),
        ("GET", "/dicom-web/info"),
        ("POST", "/tools/find"),
        ("POST", f"/studies/{ID}/anonymize"),
        ("DELETE", f"/patients/{ID}"),
    ],
)
def test_orthancs_own_rest_is_the_raw_archive(method: str, path: str) -> None:
    assert action_of(method, path) is Action.RAW_ARCHIVE


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/argonath/admit"),
        ("POST", "/instances"),
        ("PUT", f"/studies/{ID}/labels/tenant-south"),
        ("PUT", f"/instances/{ID}/attachments/dicom"),
        ("PUT", f"/studies/{ID}/metadata/AnonymizedFrom"),
        ("POST", f"/studies/{ID}/merge"),
        ("POST", f"/studies/{ID}/split"),
        ("PUT", "/modalities/x"),
        ("POST", "/modalities/x/store"),
        ("POST", "/tools/execute-script"),
        ("POST", "/tools/reset"),
        ("POST", "/tools/shutdown"),
        ("DELETE", "/changes"),
        ("GET", "/webdav/by-studies"),
        ("GET", "/tools/what-a-newer-orthanc-has"),
        ("GET", f"/studies/{ID}/what-a-newer-orthanc-has"),
        ("PUT", "/dicom-web/studies"),
        ("POST", "/dicom-web/servers/x/stow"),
        ("GET", "/dicom-web/studies/1.2.3/../../servers"),
        ("GET", "//dicom-web/studies"),
        ("GET", "/app/../studies"),
        ("GET", "/dicom-web/studies/%2e%2e/servers"),
        ("GET", "/DICOM-WEB/studies"),
        ("GET", "/dicom-web/studiesx"),
        ("GET", "/wado/x"),
        ("GET", "/dicom-web/studies/1.2.3\n"),
        ("UNKNOWN", "/dicom-web/studies"),
    ],
)
def test_nobody_may_do_what_is_not_in_the_table(method: str, path: str) -> None:
    assert action_of(method, path) is Action.UNKNOWN_ROUTE
    assert not POLICY[Action.UNKNOWN_ROUTE]


def test_a_bearer_token_comes_before_a_cookie() -> None:
    assert token_of("Bearer abc", "argonath_session=def") == "abc"
    assert token_of("bearer abc", "") == "abc"


def test_a_session_cookie_is_a_token() -> None:
    assert token_of("", "other=1; argonath_session=def") == "def"


@pytest.mark.parametrize("header", ["", "Basic abc", "Bearer", "Bearerabc"])
def test_anything_else_is_no_token(header: str) -> None:
    assert token_of(header, "") == ""
