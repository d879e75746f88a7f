"""Admission, and the world around it as far as it sees that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gateway import audit
from gateway.arriving import Sender, Transform
from gateway.dicom_tls.associations import Associations
from gateway.errors import DatabaseUnavailable, ForeignStudy
from gateway.identity import Principal, Role
from gateway.studies import Arrival, Claimed, orthanc_id
from gateway.tenancy import CallingAE, Directory
from orthanc_plugins.access import Request
from orthanc_plugins.arrivals import Arrivals
from orthanc_plugins.before_storage import BeforeStorage
from orthanc_plugins.ingest import DESCRIBE, PROCEED, Ingest
from orthanc_plugins.lifeline import Lifeline

MEMBER = Request("/dicom-web/studies", Principal("m", Role.MEMBER, "north"))
UIDS = {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.1", "SOPInstanceUID": "1.2.1.1"}
FIRST = ("RequestOrigin", "RemoteAet", "CalledAet", "RemoteIp", *UIDS, "PatientID")
INSTANCE = orthanc_id("P1", "1.2", "1.2.1", "1.2.1.1")


class World:
    """PostgreSQL, Orthanc and the present HTTP request, as far as admission sees them."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.first_sender: dict[str, Sender] = {}
        self.began: list[tuple[str, Sender]] = []
        self.records: list[audit.Record] = []
        self.database_is_up = True
        self.sessions = self.reopened = 0
        self.calls: list[str] = []
        self.request: Request | None = None
        self.arrivals = Arrivals()
        self.answers: dict[str, Any] = {}
        self.directory = Directory(
            {"NORTH": "north", "SOUTH": "south"}, {"south": (CallingAE("MR1"),)}
        )
        self.descriptions = 0
        self.transforms: dict[str, Transform] = {}
        self.before = BeforeStorage(lambda _session: [self.transforms], lambda: self.request)
        self.before.load(self)  # type: ignore[arg-type]
        self.ingest = Ingest(
            self,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            self.arrivals,
            lambda: self.directory,
            lambda: self.request,
            Lifeline(Path("/nonexistent")),
            Associations(Path("/nonexistent")),
            self.before,
            claim_is_fresh_s=5,
            clock=lambda: self.now,
        )
        self.now = 100.0

    OrthancException = RuntimeError

    @contextmanager
    def system_session(self, _reason: str) -> Iterator[Any]:
        self.sessions += 1
        if not self.database_is_up:
            raise DatabaseUnavailable
        yield self

    def claim(self, _session: object, tenant_id: str, arrival: Arrival) -> Claimed:
        row = self.rows.setdefault(
            arrival.study_instance_uid, {"tenant_id": tenant_id, "state": "claimed"}
        )
        if row["tenant_id"] != tenant_id:
            raise ForeignStudy
        if row["state"] == "stable":
            row["state"] = "receiving"
            self.reopened += 1
        uid = arrival.study_instance_uid
        self.first_sender.setdefault(uid, arrival.sender)
        return Claimed(f"{id(row)} {self.reopened}", self.sent_first(self, uid, arrival.sender))

    def sent_first(self, _session: object, study_uid: str, sender: Sender) -> bool:
        return self.first_sender[study_uid] == sender

    def begins_series(
        self, _session: object, _study_uid: str, series_uid: str, sender: Sender
    ) -> None:
        self.began.append((series_uid, sender))

    def mark_receiving(self, _session: object, uid: str) -> None:
        self.rows[uid]["state"] = "receiving"

    def find(self, _session: object, uid: str) -> dict[str, Any] | None:
        return self.rows.get(uid)

    def append(self, _session: object, record: audit.Record) -> None:
        self.records.append(record)

    def RestApiPut(self, uri: str, _body: bytes) -> bytes:
        self.calls.append(f"PUT {uri}")
        return b""

    def RestApiDelete(self, uri: str) -> None:
        self.calls.append(f"DELETE {uri}")

    def RestApiGet(self, uri: str) -> bytes:
        if uri not in self.answers:
            raise self.OrthancException
        return json.dumps(self.answers[uri]).encode()

    def c_store(self, called: str = "NORTH", calling: str = "CT1", **tags: str) -> int:
        body = {"RequestOrigin": "DicomProtocol", "CalledAet": called, "RemoteAet": calling}
        body |= {"RemoteIp": "10.0.0.7", "PatientID": "P1"} | UIDS | tags
        assert self.ask(body) == PROCEED
        return self.ingest.c_store_status(Dicom())

    def stow(self, request: Request | None, origin: str = "Plugins") -> str:
        self.request = request
        body = {"RequestOrigin": origin, "PatientID": "P1"} | UIDS
        return self.ask(body)

    def ask(self, body: dict[str, str]) -> str:
        """As Lua does: shortly first."""
        answer = self.ingest.admit("\0".join(body.get(name, "") for name in FIRST).encode())
        if answer == DESCRIBE:
            self.descriptions += 1
            answer = self.ingest.admit(json.dumps(body).encode())
        return answer


class Dicom:
    """What Orthanc tells of a stored instance."""

    def __init__(self, study_uid: str = "1.2", **metadata: str) -> None:
        self._study_uid = study_uid
        self._metadata = metadata

    def HasInstanceMetadata(self, name: str) -> int:
        return name in self._metadata

    def GetInstanceMetadata(self, name: str) -> str:
        return self._metadata[name]

    def GetInstanceSimplifiedJson(self) -> str:
        return json.dumps({"StudyInstanceUID": self._study_uid})
