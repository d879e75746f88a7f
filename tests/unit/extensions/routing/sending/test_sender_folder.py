from __future__ import annotations

from pathlib import Path

import pytest

from extensions.routing.destination_settings import FolderSettings
from extensions.routing.ledger import Instance
from extensions.routing.sending import sender_folder
from extensions.routing.sending.sender import Cues
from extensions.routing.sending.sender_folder import FolderSender, write
from gateway.errors import DestinationUnavailable
from tests.integration.routing.conftest import make_file

SETTINGS = FolderSettings(folder="research", pattern="{PatientID}/{SOPInstanceUID}.dcm")


def send(root: Path, file: bytes) -> str:
    instance = Instance.to_send("1.2.3", "1.2", "1.2")
    with FolderSender(SETTINGS, root) as sender:
        return sender.send(instance, file, Cues()).remote_status


def files(root: Path) -> dict[str, bytes]:
    found = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


def test_the_same_file_again_is_the_same_result(tmp_path: Path) -> None:
    assert [send(tmp_path, make_file(1)) for _ in range(2)] == ["written", "written"]
    assert list(files(tmp_path).values()) == [make_file(1)]
    assert next(iter(files(tmp_path))).startswith("research/P1/")


def test_a_write_that_is_broken_off_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, Path("a/x.dcm"), b"before")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sender_folder.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path, Path("a/x.dcm"), b"after")
    assert files(tmp_path) == {"a/x.dcm": b"before"}


def test_a_full_disk_makes_the_delivery_wait_and_names_no_patient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device", "/x/P1")

    monkeypatch.setattr(sender_folder.os, "fsync", full)
    with pytest.raises(DestinationUnavailable) as error:
        send(tmp_path, make_file(1))
    assert error.value.detail == "research: No space left on device."


def test_a_link_that_leads_out_is_not_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "research").symlink_to(outside)
    with pytest.raises(DestinationUnavailable, match="leads out"):
        send(root, make_file(1))
    assert files(outside) == {}
