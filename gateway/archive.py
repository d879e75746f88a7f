"""The archive as worker, portal and services see it: DICOMweb of one tenant.

Goes through Orthanc's front door with our internal token and the tenant's name, so the same
policy applies as to everybody.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from gateway.errors import ArchiveUnavailable, GatewayError, NotFound
from gateway.files import Lying, Place

TENANT_HEADER = "X-Argonath-Tenant"
_AS_RECEIVED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_PLAIN = 'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.1'
_FAILED_SOP_SEQUENCE = "00081198"
_REFERENCED_SOP_SEQUENCE = "00081199"


class NotStored(GatewayError):
    """The archive refused an object.

    The tenant's audit says why: it may belong to another's study, or be damaged.
    """

    http_status = 409


@dataclass(frozen=True)
class Reference:
    """What names an instance in the archive, and its InstanceNumber if it has one."""

    sop_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    number: int | None = None


@dataclass(frozen=True)
class Head:
    """A series: how many instances it has, and all tags of one of them as DICOM JSON."""

    series_instance_uid: str
    instance_count: int
    metadata: dict[str, Any]


class Archive:
    """DICOMweb client (PS3.18) of one tenant, or of all when `tenant_id` is None.

    Raises `NotFound` for what the tenant does not have and `ArchiveUnavailable` when Orthanc
    does not answer.
    """

    def __init__(
        self, url: str, internal_token: str, tenant_id: str | None, *, timeout_s: float = 60.0
    ) -> None:
        headers = {"Authorization": f"Bearer {internal_token}"}
        if tenant_id is not None:
            headers[TENANT_HEADER] = tenant_id
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def series_of(self, study_uid: str) -> list[dict[str, Any]]:
        """The series of a study as DICOM JSON (QIDO-RS)."""
        return self._json(f"/dicom-web/studies/{study_uid}/series")

    def metadata_of(self, study_uid: str, series_uid: str, instance_uid: str) -> dict[str, Any]:
        """All tags of one instance as DICOM JSON, bulk data by reference (WADO-RS)."""
        path = f"/dicom-web/studies/{study_uid}/series/{series_uid}/instances/{instance_uid}"
        found = self._json(path + "/metadata")
        if not found:
            raise NotFound(f"Instance {instance_uid}.")
        return found[0]

    def heads_of(self, study_uid: str) -> list[Head]:
        """The series of a study, however many instances they have."""
        heads = []
        for series in self.series_of(study_uid):
            uid = series["0020000E"]["Value"][0]
            path = f"/dicom-web/studies/{study_uid}/series/{uid}/instances?limit=1"
            for one in self._json(path):
                metadata = self.metadata_of(study_uid, uid, one["00080018"]["Value"][0])
                heads.append(Head(uid, series["00201209"]["Value"][0], metadata))
        return heads

    def references_of(self, study_uid: str) -> list[Reference]:
        """All instances of a study, in a sixth of the time that QIDO-RS takes."""
        told = self._get(f"/places/studies/{study_uid}", accept="application/json").json()
        return [Reference(uid, series, kind, as_number(it)) for uid, series, kind, it in told]

    def file_of(self, study_uid: str, series_uid: str, instance_uid: str) -> bytes:
        """One instance as a DICOM file, exactly as it was received (WADO-RS)."""
        path = f"/dicom-web/studies/{study_uid}/series/{series_uid}/instances/{instance_uid}"
        return _first_part(self._get(path, accept=_AS_RECEIVED))

    def places(
        self, study_uid: str, patient_id: str, instances: Sequence[Place]
    ) -> list[Lying | None]:
        """Where these instances lie on Orthanc's disk; None: it cannot be told."""
        try:
            answer = self._http.post(
                f"/places/studies/{study_uid}",
                json={"patient_id": patient_id, "instances": instances},
            )
        except httpx.TransportError as error:
            raise ArchiveUnavailable(type(error).__name__) from error
        _check("/places", answer)
        return [None if each is None else (each[0], each[1]) for each in answer.json()]

    def decompressed(self, study_uid: str, series_uid: str, instance_uid: str) -> bytes | None:
        """One instance in Explicit VR Little Endian; None: the archive has no decoder for it."""
        path = f"/dicom-web/studies/{study_uid}/series/{series_uid}/instances/{instance_uid}"
        try:
            answer = self._http.get(path, headers={"Accept": _PLAIN})
        except httpx.TransportError as error:
            raise ArchiveUnavailable(type(error).__name__) from error
        if answer.status_code == 404:
            raise NotFound
        if answer.status_code in {502, 503, 504}:
            raise ArchiveUnavailable(f"{path} answered {answer.status_code}.")
        return None if answer.is_error else _first_part(answer)

    def store(self, file: bytes) -> None:
        """Store a DICOM file (STOW-RS); when this returns, it is safe. Raises `NotStored`.

        What is there already is stored well, and stays as it was.
        """
        boundary = secrets.token_hex(16)
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        try:
            answer = self._http.post(
                "/dicom-web/studies",
                content=b"".join([head, file, f"\r\n--{boundary}--\r\n".encode()]),
                headers={
                    "Content-Type": f'multipart/related; type="application/dicom"; '
                    f"boundary={boundary}",
                    "Accept": "application/dicom+json",
                },
            )
        except httpx.TransportError as error:
            raise ArchiveUnavailable(type(error).__name__) from error
        if answer.is_server_error or answer.status_code in {401, 403}:
            raise ArchiveUnavailable(f"A store was answered {answer.status_code}.")
        if answer.is_error or not _is_stored(answer):
            raise NotStored(f"HTTP {answer.status_code}.")

    def raw(self, path: str) -> Any:
        """JSON of Orthanc's own REST API; only for the archive of all tenants."""
        return self._get(path, accept="application/json").json()

    def _json(self, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._get(path).json()
        return found

    def _get(self, path: str, *, accept: str = "application/dicom+json") -> httpx.Response:
        try:
            answer = self._http.get(path, headers={"Accept": accept})
        except httpx.TransportError as error:
            raise ArchiveUnavailable(type(error).__name__) from error
        _check(path, answer)
        return answer


def _check(path: str, answer: httpx.Response) -> None:
    if answer.status_code == 404:
        raise NotFound
    if answer.is_error:
        raise ArchiveUnavailable(f"{path} answered {answer.status_code}.")


def as_number(told: str) -> int | None:
    """An InstanceNumber (0020,0013); None: absent, or no number for a row."""
    try:
        number = int(told)
    except ValueError:
        return None
    return number if abs(number) < 2**31 else None


def _first_part(answer: httpx.Response) -> bytes:
    body, boundary = answer.content, answer.headers["Content-Type"].partition("boundary=")[2]
    end = body.rindex(b"\r\n--" + boundary.split(";")[0].strip('" ').encode())
    return body[body.index(b"\r\n\r\n") + 4 : end]


def _is_stored(answer: httpx.Response) -> bool:
    """Whether a STOW-RS response (PS3.18 section 10.5.3) lists an instance, and none as failed."""
    try:
        body = answer.json()
    except ValueError:
        return False
    body = body[0] if isinstance(body, list) and body else body
    if not isinstance(body, dict):
        return False
    failed = body.get(_FAILED_SOP_SEQUENCE, {}).get("Value")
    return bool(body.get(_REFERENCED_SOP_SEQUENCE, {}).get("Value")) and not failed
