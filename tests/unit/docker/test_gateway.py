"""docker/start/gateway: what it tells the person at the terminal."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.ports import free_port
from tests.scripts import load


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load("docker/start/gateway")


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    """A port on which somebody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener


def ports(http: object, dicom: object) -> dict[str, str]:
    return {"ARGONATH_HTTP_PORT": str(http), "ARGONATH_DICOM_PORT": str(dicom)}


def test_a_taken_port_is_named_with_a_command_that_takes_another(
    script: ModuleType, taken: socket.socket
) -> None:
    port = taken.getsockname()[1]
    with pytest.raises(SystemExit) as ended:
        script.ports_are_free(ports(free_port(), port))
    said = str(ended.value)
    assert f"Port {port} (DICOM) is in use." in said
    assert said.endswith("make run")
    assert f"ARGONATH_DICOM_PORT={port}" not in said


def test_what_is_no_port_is_refused(script: ModuleType) -> None:
    with pytest.raises(SystemExit, match="ARGONATH_HTTP_PORT=http is not a port"):
        script.ports_are_free(ports("http", 4242))


def test_both_on_one_port_is_refused(script: ModuleType) -> None:
    port = free_port()
    with pytest.raises(SystemExit, match="cannot share"):
        script.ports_are_free(ports(port, port))


def test_a_slow_start_names_the_parts_that_are_missing(script: ModuleType) -> None:
    answer = {"status": "not ready", "parts": {"redis": "ready", "schema": "waits for x"}}
    assert script.unready(json.dumps(answer).encode()) == "schema waits for x"
    assert script.unready(b'{"error": "Starting"}') == "portal does not answer"
    assert script.unready(b"<html>") == "nginx answers, the portal does not"


def test_the_last_words_of_a_log_are_those_of_the_last_failure(
    script: ModuleType, tmp_path: Path
) -> None:
    log = tmp_path / "migrate.log"
    log.write_text("argonath: earlier\nApplied: x\nargonath: y was changed.\n  line two\n")
    assert script.last_words(log) == "argonath: y was changed.\n  line two"
    log.write_text("Traceback\nImportError: no module\n")
    assert script.last_words(log).endswith("ImportError: no module")
