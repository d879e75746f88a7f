"""Whether a destination can be reached: named checks, for an admin who has just typed it in."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from extensions.routing.destination_settings import (
    DestinationSettings,
    DicomwebSettings,
    DimseSettings,
    FolderSettings,
    S3Settings,
)
from extensions.routing.sending import asking, committing
from extensions.routing.sending.sender_dicomweb import client
from extensions.routing.sending.sender_folder import write
from gateway.reaching import TIMEOUT_S, Check, reach, why_not

PROBE = "argonath-connection-test"


def test_connection(settings: DestinationSettings, exports: Path) -> list[Check]:
    """Reach the host, then ask by C-ECHO (PS3.4 annex A), QIDO-RS or S3; stops at what fails.

    A folder below `exports` is written to.
    """
    if isinstance(settings, FolderSettings):
        return [_write(settings, exports)]
    if isinstance(settings, DimseSettings):
        reached = reach(settings.host, settings.port)
        if not reached.passed:
            return [reached]
        echoed = _echo(settings)
        if settings.verify == "commitment" and all(check.passed for check in echoed):
            echoed.append(committing.check(settings))
        return [reached, *echoed]
    parts = urlsplit(settings.url)
    reached = reach(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    if not reached.passed:
        return [reached]
    asked = _bucket(settings) if isinstance(settings, S3Settings) else _search(settings)
    return [reached, asked]


def _write(settings: FolderSettings, exports: Path) -> Check:
    name = f"Write to {exports.name}/{settings.folder}"
    try:
        write(exports, Path(settings.folder, PROBE), b"").unlink()
        free = shutil.disk_usage(exports).free // 10**9
    except OSError as error:
        told = f"{error.strerror or error}; ask who runs the gateway to permit it."
        return Check(name, False, told)
    return Check(name, True, f"Written and removed; {free} GB are free.")


def _bucket(settings: S3Settings) -> Check:
    from botocore.exceptions import BotoCoreError, ClientError

    from extensions.routing.sending.sender_s3 import client as s3_client

    name = f"PUT and DELETE {settings.bucket}/{PROBE}"
    try:
        with closing(s3_client(settings, TIMEOUT_S)) as s3:
            s3.put_object(Bucket=settings.bucket, Key=PROBE, Body=b"")
            s3.delete_object(Bucket=settings.bucket, Key=PROBE)
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        return Check(name, False, f"{code}. Check the keys, the bucket and what they may do in it.")
    except BotoCoreError as error:
        return Check(name, False, f"{type(error).__name__}; check the address and its certificate.")
    return Check(name, True, "Written and removed.")


def _echo(settings: DimseSettings) -> list[Check]:
    association, line = asking.associate(settings, Verification, TIMEOUT_S)
    name = f"Association {settings.calling_aet} to {settings.called_aet}"
    if not association.is_established:
        cure = "Check both AE titles, and that it knows ours."
        return [Check(name, False, f"{why_not(association, settings.address, line)} {cure}")]
    answer = association.send_c_echo()
    association.release()
    status = answer.get("Status")
    told = "No answer." if status is None else f"Status 0x{status:04X}."
    return [Check(name, True, "Accepted."), Check("C-ECHO", status == 0, told)]


def _search(settings: DicomwebSettings) -> Check:
    name = f"GET {settings.url}/studies?limit=1"
    try:
        with client(settings, TIMEOUT_S) as http:
            answer = http.get(
                f"{settings.url}/studies",
                params={"limit": "1"},
                headers={"Accept": "application/dicom+json"},
            )
    except httpx.HTTPError as error:
        return Check(name, False, f"{type(error).__name__}; check the address and its certificate.")
    cures = {
        401: "Check the token or the password.",
        403: "These credentials may not search; they may be able to store all the same.",
        404: "Check the path of the address; it must be the DICOMweb root.",
    }
    told = f"HTTP {answer.status_code}. {cures.get(answer.status_code, '')}".strip()
    return Check(name, answer.status_code in {200, 204}, told)
