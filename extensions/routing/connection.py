"""Whether a destination can be reached: named checks, for an admin who has just typed it in."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from extensions.routing.destination_settings import (
    DestinationSettings,
    DicomwebSettings,
    DimseSettings,
)
from extensions.routing.sender_dicomweb import client
from extensions.routing.sender_dimse import Line, why_not

TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Check:
    """One thing that was tried, whether it went well, and what was answered or what to do."""

    name: str
    passed: bool
    detail: str


def test_connection(settings: DestinationSettings) -> list[Check]:
    """Reach the host, then ask by C-ECHO (PS3.4 annex A) or QIDO-RS; stops at what fails."""
    if isinstance(settings, DimseSettings):
        reached = _reach(settings.host, settings.port)
        return [reached, *_echo(settings)] if reached.passed else [reached]
    parts = urlsplit(settings.url)
    reached = _reach(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    return [reached, _search(settings)] if reached.passed else [reached]


def _reach(host: str, port: int) -> Check:
    name = f"TCP connection to {host}:{port}"
    try:
        socket.create_connection((host, port), timeout=TIMEOUT_S).close()
    except socket.gaierror:
        return Check(name, False, f"The name {host} is not known; check it, or use an address.")
    except TimeoutError:
        return Check(name, False, "No answer; check the address and the firewalls on the way.")
    except OSError as error:
        return Check(name, False, f"{error.strerror or error}; check the port and that it runs.")
    return Check(name, True, "Connected.")


def _echo(settings: DimseSettings) -> list[Check]:
    ae = AE(ae_title=settings.calling_aet)
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = TIMEOUT_S
    ae.add_requested_context(Verification)
    line = Line()
    association = ae.associate(
        settings.host,
        settings.port,
        ae_title=settings.called_aet,
        evt_handlers=[(evt.EVT_CONN_OPEN, line.opened)],
    )
    name = f"Association {settings.calling_aet} to {settings.called_aet}"
    if not association.is_established:
        cure = "Check both AE titles, and that it knows ours."
        return [Check(name, False, f"{why_not(association, settings, line)} {cure}")]
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
