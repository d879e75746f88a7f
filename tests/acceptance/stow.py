"""STOW-RS of files that a DICOM library would refuse to send."""

from __future__ import annotations

from io import BytesIO

import httpx
from pydicom import dcmread

from gateway.phantom import ct_phantom
from tests.acceptance.conftest import RunningGateway

BOUNDARY = "bad-input"


def stow(gateway: RunningGateway, *files: bytes, key: str = "") -> httpx.Response:
    """Store `files` as they are, with the key of north or another."""
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
