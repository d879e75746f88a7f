"""docker/fetch-npm: what is fetched is what the list means, and nothing else is unpacked."""

from __future__ import annotations

import base64
import gzip
import hashlib
import tarfile
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.scripts import load


@pytest.fixture
def fetch() -> ModuleType:
    return load("docker/fetch-npm")


def archive(**files: str) -> bytes:
    """A package's archive with these files (`__` is a folder's slash, `_` a dot)."""
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo("package/" + name.replace("__", "/").replace("_", "."))
            member.size = len(text)
            tar.addfile(member, BytesIO(text.encode()))
    return buffer.getvalue()


def package(**more: Any) -> dict[str, Any]:
    return {"folder": "package", "to": "opt/it", **more}


def test_an_archive_with_another_checksum_is_refused(fetch: ModuleType) -> None:
    content = archive(a_js="1")
    right = "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
    fetch.check("it", content, right)
    with pytest.raises(SystemExit, match="sha512 is"):
        fetch.check("it", content + b" ", right)


def test_what_the_list_leaves_out_is_not_unpacked(fetch: ModuleType, tmp_path: Path) -> None:
    content = archive(a_js="1", a_js_map="2", ort__big_wasm="3")
    fetch.unpack(content, package(leave_out=["*.map", "ort/*"]), tmp_path)
    assert {file.name for file in tmp_path.rglob("*") if file.is_file()} == {"a.js", "a.js.gz"}


def test_the_compressed_twin_holds_what_was_replaced_too(fetch: ModuleType, tmp_path: Path) -> None:
    fetch.unpack(archive(a_js="p='/'"), package(replace=[["*.js", "'/'", "'/v/'"]]), tmp_path)
    assert (tmp_path / "a.js").read_text() == "p='/v/'"
    assert gzip.decompress((tmp_path / "a.js.gz").read_bytes()) == b"p='/v/'"


def test_a_replacement_that_replaces_nothing_is_an_error(fetch: ModuleType, tmp_path: Path) -> None:
    rules = [["*.js", "one", "two"], ["*.css", "one", "two"]]
    with pytest.raises(SystemExit, match="Nowhere"):
        fetch.unpack(archive(a_js="one"), package(replace=rules), tmp_path)


def test_a_file_that_would_leave_the_folder_is_refused(fetch: ModuleType, tmp_path: Path) -> None:
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("package/../../escaped"), BytesIO())
    with pytest.raises(tarfile.OutsideDestinationError):
        fetch.unpack(buffer.getvalue(), package(), tmp_path / "in")


@pytest.mark.parametrize(
    ("npmrc", "variable", "expected"),
    [
        ("", "", "default"),
        ("registry=https://mirror.example/npm/\n", "", "https://mirror.example/npm"),
        (
            "registry=https://a.example\n@scope:registry = https://b.example\n",
            "",
            "https://b.example",
        ),
        ("registry=https://a.example\n", "https://c.example/", "https://c.example"),
    ],
)
def test_the_registry_is_the_one_that_npm_would_ask(
    fetch: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    npmrc: str,
    variable: str,
    expected: str,
) -> None:
    (tmp_path / "npmrc").write_text(npmrc)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NPM_CONFIG_USERCONFIG", str(tmp_path / "npmrc"))
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", variable)
    base = fetch.NPM_DEFAULT if expected == "default" else expected
    assert fetch.address("@scope/it", "1.0.0") == f"{base}/@scope/it/-/it-1.0.0.tgz"


def test_of_npms_own_lock_each_package_goes_where_npm_would_put_it(fetch: ModuleType) -> None:
    lock = """{"packages": {"": {"name": "project"},
        "node_modules/koa": {"version": "3.3.0", "integrity": "sha512-a"},
        "node_modules/koa/node_modules/@scope/it": {"version": "1.0.0", "integrity": "sha512-b"}
    }}"""
    found = dict(fetch.packages(lock, ".json"))
    assert found["koa"]["to"] == "node_modules/koa"
    assert found["@scope/it"]["to"] == "node_modules/koa/node_modules/@scope/it"
    assert found["@scope/it"]["integrity"] == "sha512-b"
    assert len(found) == 2


def test_what_is_not_served_has_no_compressed_twin(fetch: ModuleType, tmp_path: Path) -> None:
    fetch.unpack(archive(a_js="1"), package(served=False), tmp_path)
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["a.js"]
