"""The viewer's page: what it loads is there, and its policy lets nothing else run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from extensions.viewer import portal

PAGE = Path(portal.__file__).parent / "templates/viewer/shell.html"


def directives() -> dict[str, set[str]]:
    """The policy's directives with their sources."""
    found = (part.split() for part in portal.POLICY.split(";"))
    return {name: set(sources) for name, *sources in found}


def test_only_scripts_of_this_origin_run_and_none_from_text() -> None:
    assert directives()["script-src"] == {"'self'", "'wasm-unsafe-eval'"}
    assert directives()["default-src"] == {"'none'"}


def test_no_source_is_another_host() -> None:
    sources = set().union(*directives().values())
    assert sources <= {
        "'self'",
        "'none'",
        "'unsafe-inline'",
        "'wasm-unsafe-eval'",
        "data:",
        "blob:",
    }


def test_the_page_has_no_inline_script_and_names_no_other_host() -> None:
    page = PAGE.read_text()
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", page))
    assert "//" not in page


def test_every_study_is_linked_by_its_uid() -> None:
    links = portal.study_links(["1.2.3", "1.2.4"])
    assert [link.url for link in links["1.2.4"]] == ["/viewer/viewer?StudyInstanceUIDs=1.2.4"]


def test_what_the_page_loads_is_installed() -> None:
    if not portal.FILES.is_dir():
        pytest.skip("the viewer's files are not installed here")
    named = re.findall(r'"/viewer/([^"]+)"', PAGE.read_text())
    assert named
    assert [name for name in named if not (portal.FILES / name).is_file()] == []


def test_what_is_loaded_later_is_asked_for_below_viewer() -> None:
    if not portal.FILES.is_dir():
        pytest.skip("the viewer's files are not installed here")
    bundles = [file.read_text() for file in portal.FILES.glob("*.js")]
    assert any('__webpack_require__.p = "/viewer/"' in bundle for bundle in bundles)
    assert not any('__webpack_require__.p = "/"' in bundle for bundle in bundles)
