"""Starting, stopping, and starting again on the same data."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import RunningGateway, make_gateway


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


def read(entry: Path) -> str:
    try:
        return entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""  # it has ended meanwhile
