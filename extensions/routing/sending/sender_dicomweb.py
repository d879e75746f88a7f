"""Sending by STOW-RS (PS3.18 section 10.5), one instance per request over a kept connection."""

from __future__ import annotations

import secrets
from dataclasses import replace
from io import BytesIO
from types import TracebackType
from typing import Any, Self

import httpx
from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID

from extensions.routing.destination_settings import DicomwebSettings
from extensions.routing.ledger import Instance
from extensions.routing.progress import Outcome
from extensions.routing.sending.sender import Cues, outcome_of
from gateway.errors import DestinationUnavailable

_FAILED_SOP_SEQUENCE = "00081198"
_FAILURE_REASON = "00081197"
# These say that the whole destination is set up wrongly or cannot now: no instance's fault.
_WHOLE_DESTINATION = frozenset({401, 403, 404, 405, 407, 408, 429, 502, 503, 504})
_UNSUPPORTED_SYNTAX = "0xC122"  # Referenced Transfer Syntax Not Supported (PS3.18 table I.2-2)
_LATER = frozenset({500, 507})


class DicomwebSender:
    """Sends over one HTTP connection."""

    def __init__(self, settings: DicomwebSettings, *, timeout_s: float = 60.0) -> None:
        self._url = f"{settings.url}/studies"
        self._http = client(settings, timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def send(self, instance: Instance, file: bytes, cues: Cues) -> Outcome:
        """Send one file; raises `DestinationUnavailable` when there was no answer."""
        boundary = secrets.token_hex(16)
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
        cues.going()
        try:
            answer = self._http.post(
                self._url,
                content=b"".join([head, file, f"\r\n--{boundary}--\r\n".encode()]),
                headers={"Content-Type": kind, "Accept": "application/dicom+json"},
            )
        except httpx.RequestError as error:
            raise DestinationUnavailable(f"{self._url}: {type(error).__name__}.") from error
        if answer.status_code in _WHOLE_DESTINATION or answer.is_redirect:
            raise DestinationUnavailable(f"{self._url} answered HTTP {answer.status_code}.")
        outcome = read_answer(instance.sop_instance_uid, answer)
        refused = answer.status_code == 415 or outcome.remote_status.endswith(_UNSUPPORTED_SYNTAX)
        return replace(outcome, unreadable=refused and _is_compressed(file))


def _is_compressed(file: bytes) -> bool:
    try:
        meta = dcmread(BytesIO(file), specific_tags=[], stop_before_pixels=True).file_meta
        return bool(UID(meta.TransferSyntaxUID).is_compressed)
    except (InvalidDicomError, AttributeError, ValueError, EOFError):
        return False


def client(settings: DicomwebSettings, timeout_s: float) -> httpx.Client:
    """An HTTP client with the destination's credentials; follows no redirect with them."""
    headers = {"Authorization": f"Bearer {settings.token}"} if settings.token else {}
    login = (settings.username, settings.password) if settings.username else None
    timeout = httpx.Timeout(timeout_s, connect=10.0)
    return httpx.Client(headers=headers, auth=login, timeout=timeout, follow_redirects=False)


def read_answer(uid: str, answer: httpx.Response) -> Outcome:
    """What a STOW-RS response says about its one instance (PS3.18 section 10.5.3)."""
    shown = f"HTTP {answer.status_code}"
    reason = _failure(answer)
    if reason is not None:
        outcome = outcome_of(uid, reason)
        both = f"{shown}, {outcome.remote_status}"
        return Outcome(uid, outcome.delivered, outcome.permanent, both, outcome.cause)
    if answer.status_code in {200, 201, 202}:
        return _accepted(uid, answer, shown)
    if answer.status_code in _LATER:
        return Outcome(uid, False, False, shown, "The destination failed to store it.")
    return Outcome(uid, False, True, shown, "The destination refused the request.")


def _accepted(uid: str, answer: httpx.Response, shown: str) -> Outcome:
    if answer.status_code == 202 and _body(answer) is None:
        # 202: stored with a warning, or not stored. Without a readable body nobody knows.
        return Outcome(uid, False, True, shown, "The destination's answer cannot be read.")
    return Outcome(uid, True, False, shown)


def _failure(answer: httpx.Response) -> int | None:
    """The Failure Reason (PS3.3 section C.14.1.1) of the one instance, if it is listed as failed.

    Its UID is not compared: a copy may have another than the instance in our archive.
    """
    try:
        for item in (_body(answer) or {}).get(_FAILED_SOP_SEQUENCE, {}).get("Value", []):
            return int(item.get(_FAILURE_REASON, {}).get("Value", [0x0110])[0])
    except (AttributeError, TypeError, ValueError, LookupError):
        return 0x0110  # it lists failures in a shape that we cannot read
    return None


def _body(answer: httpx.Response) -> dict[str, Any] | None:
    try:
        body = answer.json()
    except ValueError:
        return None
    if isinstance(body, list):
        body = body[0] if body else {}
    return body if isinstance(body, dict) else None
