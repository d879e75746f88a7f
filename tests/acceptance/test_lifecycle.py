"""Starting, stopping, and starting again on the same data."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.conftest import RunningGateway, make_gateway
from tests.acceptance.stow import phantom, stow
from tests.acceptance.trail import decisions, last_record, records

UNCLEAN = "node.unclean-stop"


@pytest.fixture
def own_gateway() -> Iterator[RunningGateway]:
    """A gateway beside the shared one, which this test may stop."""
    gateway = make_gateway(demo="0")
    yield gateway
    if gateway.process is not None and gateway.process.poll() is None:
        gateway.stop()


def test_a_stopped_gateway_leaves_no_process_and_finds_its_data_again(
    own_gateway: RunningGateway, tmp_path: Path
) -> None:
    gateway = own_gateway
    gateway.argonath("tenant", "create", "west")
    key = gateway.argonath("api-key", "create", "--tenant", "west")
    gateway.wait_until_known("WEST", tmp_path)
    study = gateway.send_phantom(tmp_path, "Again^Anna", called="WEST")

    began = time.monotonic()
    gateway.stop()
    assert time.monotonic() - began < 15
    left = [
        command
        for entry in Path("/proc").glob("[0-9]*/cmdline")
        if str(gateway.data) in (command := read(entry))
    ]
    assert left == []
    log = (gateway.data / "log/supervisord.log").read_text()
    assert "stopped: orthanc (exit status 0)" in log

    gateway.start()
    assert len(gateway.dicomweb(key).search_for_instances(study)) == 2
    assert [r for r in records(gateway, after=0) if r["action"] == UNCLEAN] == []


def test_an_orthanc_that_was_killed_is_back_soon_and_the_audit_says_when_it_last_lived(
    gateway: RunningGateway,
) -> None:
    time.sleep(3)  # what was stored by STOW-RS just before would be named, too
    last = last_record(gateway)
    gateway.kill("node:orthanc")
    gateway.wait_until(lambda: len(decisions(gateway, after=last)) > 0, 60)
    gateway.wait_until(gateway.is_ready, 60)
    (record,) = decisions(gateway, after=last)
    assert (record["action"], record["verdict"]) == (UNCLEAN, "failed")
    assert "Last known alive 20" in record["detail"]


@contextmanager
def without_database(gateway: RunningGateway) -> Iterator[None]:
    """PostgreSQL is stopped meanwhile, and everything is ready again afterwards."""
    control = ["supervisorctl", "-s", f"unix://{gateway.data}/run/supervisor.sock"]
    environment = {**os.environ, "PYTHONPATH": ""}
    subprocess.run([*control, "stop", "stores:postgresql"], check=True, env=environment)
    try:
        yield
    finally:
        subprocess.run([*control, "start", "stores:postgresql"], check=True, env=environment)
        gateway.wait_until(gateway.is_ready, 30)


def test_without_its_database_the_gateway_calls_no_key_wrong_and_says_when_to_try_again(
    gateway: RunningGateway,
) -> None:
    key = gateway.argonath("api-key", "create", "--tenant", "north")
    with without_database(gateway):
        answer = gateway.get("/dicom-web/studies", key)
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert "try again" in answer.json()["cure"]
        assert answer.json()["retry"] is True
    gateway.wait_until(lambda: gateway.get("/dicom-web/studies", key).status_code == 200)


def test_without_its_database_the_gateway_stores_nothing_of_a_new_study_for_now(
    gateway: RunningGateway,
) -> None:
    gateway.get("/dicom-web/studies?limit=1", gateway.north_key)  # the node knows the key
    with without_database(gateway):
        answer = stow(gateway, phantom("no database"))
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
    gateway.wait_until(lambda: stow(gateway, phantom("no database")).status_code == 200)


def read(entry: Path) -> str:
    try:
        return entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""  # it has ended meanwhile


def test_the_status_says_that_look_ups_do_not_grow_with_the_archive(
    gateway: RunningGateway,
) -> None:
    assert json.loads(gateway.argonath("status", "--json"))["archive_index"] == "flat"
