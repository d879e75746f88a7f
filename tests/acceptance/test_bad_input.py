"""What cannot be stored gets a clear error and an audit record, and costs nobody else anything."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path

import httpx
import psycopg
import pytest
from pydicom import dcmread

from gateway.phantom import ct_phantom
from tests.acceptance.conftest import RunningGateway

BOUNDARY = "bad-input"
DEPTH = 100_000


def stow(gateway: RunningGateway, *files: bytes, key: str = "") -> httpx.Response:
    """STOW-RS of files that a DICOM library would refuse to send."""
    head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    body = b"".join(head + file + b"\r\n" for file in files) + f"--{BOUNDARY}--".encode()
    content_type = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
    return httpx.post(
        f"{gateway.url}/dicom-web/studies",
        content=body,
        headers={
            "Authorization": f"Bearer {key or gateway.north_key}",
            "Content-Type": content_type,
            "Accept": "application/dicom+json",
        },
        timeout=60,
    )


def denials(gateway: RunningGateway) -> int:
    """How many refusals the audit trail holds."""
    with psycopg.connect(
        f"host={gateway.data}/run/postgresql user=argonath dbname=argonath"
    ) as owner:
        row = owner.execute("SELECT count(*) FROM audit WHERE verdict = 'denied'").fetchone()
    assert row is not None
    return int(row[0])


def phantom(seed: str, **changes: str) -> bytes:
    """One CT slice with tags changed, or deleted where the value is empty."""
    ds = dcmread(BytesIO(ct_phantom(1, seed=seed, patient_id="BAD")[0]))
    for keyword, value in changes.items():
        if value:
            setattr(ds, keyword, value)
        else:
            delattr(ds, keyword)
    buffer = BytesIO()
    ds.save_as(buffer)
    return buffer.getvalue()


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
        pytest.param(phantom("no study", StudyInstanceUID=""), id="without StudyInstanceUID"),
        pytest.param(phantom("no series", SeriesInstanceUID=""), id="without SeriesInstanceUID"),
    ],
)
def test_an_unusable_file_is_refused_by_stow(gateway: RunningGateway, file: bytes) -> None:
    before = gateway.get("/dicom-web/studies", gateway.north_key).json()
    answer = stow(gateway, file)
    assert 400 <= answer.status_code < 500
    assert gateway.get("/dicom-web/studies", gateway.north_key).json() == before


def test_what_is_stored_in_part_is_answered_so(gateway: RunningGateway) -> None:
    foreign = phantom("foreign")
    assert stow(gateway, foreign, key=gateway.south_key).status_code == 200
    answer = stow(gateway, phantom("good neighbour"), foreign)
    assert answer.status_code == 202  # PS3.18 table 10.5.3-1
    assert len(answer.json()["00081199"]["Value"]) == 1
    assert len(answer.json()["00081198"]["Value"]) == 1


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_a_file_without_a_uid_is_refused_by_c_store(
    gateway: RunningGateway, tmp_path: Path, keyword: str
) -> None:
    file = tmp_path / "no-uid.dcm"
    file.write_bytes(phantom(f"dimse {keyword}", **{keyword: ""}))
    sent = gateway.storescu(file)
    assert "Received Store Response" in sent.stderr
    assert "Received Store Response (Success)" not in sent.stderr


def test_an_unknown_ae_title_leaves_an_audit_record(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    before = denials(gateway)
    file = tmp_path / "one.dcm"
    file.write_bytes(phantom("unknown ae"))
    gateway.storescu(file, called="NOBODY")
    assert denials(gateway) == before + 1


def test_deeply_nested_sequences_cost_nothing_that_was_acknowledged(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    study = gateway.send_phantom(tmp_path, "Before^Bomb", slices=5)
    try:
        answer = stow(gateway, nested("bomb"))
        assert answer.status_code >= 400
    except httpx.TransportError:
        pass  # the connection broke with Orthanc
    gateway.wait_until(gateway.is_ready, 10)
    found = gateway.dicomweb(gateway.north_key).search_for_instances(study)
    assert len(found) == 5


def test_the_audit_trail_verifies_after_all_of_this(gateway: RunningGateway) -> None:
    assert gateway.argonath("audit", "verify") == "The chain holds."
