"""What cannot be stored gets a clear error and an audit record, and costs nobody else anything."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from pydicom.uid import CTImageStorage
from pynetdicom import AE, _config

from tests.acceptance.conftest import RunningGateway
from tests.acceptance.stow import phantom, stow
from tests.acceptance.trail import decisions, last_record, records

DEPTH = 100_000
_OVER_S = 11  # until a STOW-RS that was refused unread is not named any more


def nested(seed: str) -> bytes:
    """A small file whose sequences are nested so deeply that no parser's stack survives it."""
    head = phantom(seed, PixelData="")
    sequence = struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    close = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    return head + (sequence + item) * DEPTH + close * DEPTH


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(b"this is no DICOM file", id="no DICOM"),
        pytest.param(phantom("cut")[:700], id="truncated"),
        pytest.param(phantom("cut pixels")[:-500], id="truncated pixels"),
        pytest.param(phantom("no study", StudyInstanceUID=""), id="without StudyInstanceUID"),
        pytest.param(phantom("no series", SeriesInstanceUID=""), id="without SeriesInstanceUID"),
        pytest.param(phantom("no instance", SOPInstanceUID=""), id="without SOPInstanceUID"),
    ],
)
def test_an_unusable_file_is_refused_by_stow_with_a_cure_and_audited(
    gateway: RunningGateway, file: bytes
) -> None:
    before = gateway.get("/dicom-web/studies", gateway.north_key).json()
    last = last_record(gateway)
    answer = stow(gateway, file)
    assert answer.status_code == 400
    assert answer.json()["error"] == "NotStored"
    assert "StudyInstanceUID" in answer.json()["cure"]
    assert gateway.get("/dicom-web/studies", gateway.north_key).json() == before
    (record,) = decisions(gateway, after=last)
    assert (record["tenant_id"], record["action"], record["verdict"]) == (
        "north",
        "store-study",
        "failed",
    )
    assert record["resource"] == "POST /dicom-web/studies"


def test_somebody_elses_study_is_refused_by_stow_with_a_cure_and_audited(
    gateway: RunningGateway,
) -> None:
    theirs = phantom("theirs")
    assert stow(gateway, theirs, key=gateway.south_key).status_code == 200
    last = last_record(gateway)
    answer = stow(gateway, theirs)
    assert answer.status_code == 400
    assert "another sender's" in answer.json()["cure"]
    assert "south" not in answer.text
    denied = [r for r in records(gateway, after=last) if r["verdict"] == "denied"]
    assert [(r["tenant_id"], r["detail"].split()[0]) for r in denied] == [("north", "ForeignStudy")]


def test_what_is_stored_in_part_is_answered_so(gateway: RunningGateway) -> None:
    foreign = phantom("foreign")
    assert stow(gateway, foreign, key=gateway.south_key).status_code == 200
    answer = stow(gateway, phantom("good neighbour"), foreign)
    assert answer.status_code == 202  # PS3.18 table 10.5.3-1
    assert len(answer.json()["00081199"]["Value"]) == 1
    assert len(answer.json()["00081198"]["Value"]) == 1


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_a_file_without_a_uid_is_refused_by_c_store_with_its_status_and_audited(
    gateway: RunningGateway, tmp_path: Path, keyword: str
) -> None:
    last = last_record(gateway)
    file = tmp_path / "no-uid.dcm"
    file.write_bytes(phantom(f"dimse {keyword}", **{keyword: ""}))
    sent = gateway.storescu(file)
    # PS3.4 table B.2-1: the data set does not match the SOP class.
    assert "Received Store Response (Error: DataSetDoesNotMatchSOPClass)" in sent.stderr
    (record,) = decisions(gateway, after=last)
    assert (record["tenant_id"], record["actor"], record["verdict"]) == ("north", "CT1", "denied")
    assert record["detail"] == "UnusableObject A UID is missing or is none."


def test_an_unknown_ae_title_gets_its_status_and_an_audit_record(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    last = last_record(gateway)
    file = tmp_path / "one.dcm"
    file.write_bytes(phantom("unknown ae"))
    sent = gateway.storescu(file, called="NOBODY")
    assert "Unknown Status: 0x124" in sent.stderr  # PS3.7 annex C: refused, not authorized
    (record,) = decisions(gateway, after=last)
    assert (record["actor"], record["verdict"]) == ("CT1", "denied")
    assert record["detail"] == "UnknownAETitle Called 'NOBODY'."


@pytest.mark.parametrize("state", ["wrong", "revoked"])
def test_a_key_that_is_not_valid_gets_a_cure_and_an_audit_record(
    gateway: RunningGateway, state: str
) -> None:
    key = "argonath_wrong"
    if state == "revoked":
        key = gateway.argonath("api-key", "create", "--tenant", "north")
        gateway.argonath("api-key", "revoke", key)
    last = last_record(gateway)
    answer = stow(gateway, phantom("any"), key=key)
    assert answer.status_code == 401
    assert "argonath api-key create" in answer.json()["cure"]
    (record,) = decisions(gateway, after=last)
    assert (record["action"], record["verdict"]) == ("store-study", "denied")
    assert "unknown, expired or revoked" in record["detail"]


def bomb_by_stow(gateway: RunningGateway, file: Path) -> None:
    """Send it by STOW-RS; the connection may break with Orthanc."""
    with suppress(httpx.TransportError):
        assert stow(gateway, file.read_bytes()).status_code >= 400


def bomb_by_c_store(gateway: RunningGateway, file: Path) -> None:
    """Send it as it is: dcmtk's own tool does not survive the file."""
    ae = AE("CT1")
    ae.add_requested_context(CTImageStorage, "1.2.840.10008.1.2.1")
    association = ae.associate("127.0.0.1", gateway.dicom_port, ae_title="NORTH")
    assert association.is_established
    with association.dul.socket.socket:  # pynetdicom leaves one that the other side has closed
        assert "Status" not in association.send_c_store(file)  # no answer: the connection broke


@pytest.mark.parametrize(
    ("send", "named"), [(bomb_by_stow, ["north"]), (bomb_by_c_store, [])], ids=["STOW", "C-STORE"]
)
def test_deeply_nested_sequences_cost_nothing_that_was_acknowledged_and_are_audited(
    gateway: RunningGateway,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    send: Callable[[RunningGateway, Path], None],
    named: list[str],
) -> None:
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)
    study = gateway.send_phantom(tmp_path, "Before^Bomb", slices=5)
    last = last_record(gateway)
    bomb = tmp_path / "bomb.dcm"
    bomb.write_bytes(nested("bomb"))
    time.sleep(_OVER_S)
    send(gateway, bomb)
    gateway.wait_until(gateway.is_ready, 60)
    found = gateway.dicomweb(gateway.north_key).search_for_instances(study)
    assert len(found) == 5
    ended = [r for r in records(gateway, after=last) if r["action"] == "node.unclean-stop"]
    assert ended[0]["tenant_id"] is None
    assert ended[0]["detail"].startswith("Last known alive 20")
    # The tenant is told if it could be known: by C-STORE Orthanc ends before any of its hooks.
    assert [record["tenant_id"] for record in ended[1:]] == named
    admin = gateway.argonath("api-key", "create", "--role", "system-admin")
    page = gateway.get("/audit?action=node.unclean-stop", admin, Accept="text/html")
    assert "Last known alive" in page.text


def test_the_audit_trail_verifies_after_all_of_this(gateway: RunningGateway) -> None:
    assert gateway.argonath("audit", "verify").startswith("The chain holds: ")
