"""What of patients' data is read through this node, for the audit: attributes by name, no values.

Whose a study is gets decided where it is looked up, so reads are noted there.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from pydicom.datadict import keyword_for_tag

from gateway import audit, routes
from gateway.access import Action
from gateway.audit import Record
from gateway.audit.chain import Anchor
from gateway.audit.reads import Read, Reads
from gateway.db import Database
from gateway.dicom_tls.associations import Association
from gateway.identity import Principal, Role
from gateway.tenancy import CallingAE
from orthanc_plugins.access import Request
from orthanc_plugins.sdk import Orthanc
from orthanc_plugins.search import exact_uid

log = logging.getLogger(__name__)

_ANCHOR_S = 1.0
_LEVELS = (
    ("study", "StudyInstanceUID"),
    ("series", "SeriesInstanceUID"),
    ("instance", "SOPInstanceUID"),
)
_UIDS = frozenset(keyword for _level, keyword in _LEVELS)
_TAG = re.compile(r"[0-9a-fA-F]{4},?[0-9a-fA-F]{4}")
_LONGEST = 64
_LISTS = frozenset({"studies", "series", "instances"})
_ORTHANC_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}")
_PARENTS = {"patients": "/studies", "studies": "", "series": "/study", "instances": "/study"}
_STATIC = "/app/"  # Orthanc Explorer's own files
_WAYS = ("metadata", "frames", "rendered", "thumbnail", "bulk")


def resource_of(query: Mapping[str, Any]) -> str:
    """What a query names: `study 1.2`, else a series or an instance, else `search`."""
    for level, keyword in _LEVELS:
        uid = exact_uid(query, keyword)
        if uid is not None:
            return f"{level} {uid}"
    return "search"


def way_of(path: str, query: Mapping[str, Any]) -> str:
    """How a request reads, e.g. `metadata`, or `search series by Modality`."""
    if not path.startswith("/dicom-web/"):
        return "WADO-URI"
    steps = path.rstrip("/").split("/")
    if steps[-1] in _LISTS:
        return searched(steps[-1], query)
    return next((way for way in _WAYS if way in steps), "retrieve")


def searched(level: str, query: Mapping[str, Any]) -> str:
    """A search by the attributes that were given a value."""
    names = {_keyword(name) for name, value in query.items() if value} - _UIDS
    return f"search {level} by {', '.join(sorted(names))}" if names else f"search {level}"


@lru_cache(1024)
def _keyword(name: str) -> str:
    """The keyword of an attribute, which may be named by its tag; a tag that has none stays."""
    if not _TAG.fullmatch(name):
        return name if name.isascii() and name.isalnum() and len(name) <= _LONGEST else "?"
    return keyword_for_tag(int(name.replace(",", ""), 16)) or name


def series_of(path: str) -> str:
    """The SeriesInstanceUID in a DICOMweb path; empty when there is none."""
    _, _, rest = path.partition("/series/")
    return rest.partition("/")[0]


class ReadAudit:
    """Notes the reads of HTTP requests; `owner_of` is asked for what a system admin reads."""

    def __init__(
        self,
        reads: Reads,
        current: Callable[[], Request | None],
        owner_of: Callable[[str], str | None],
        write: Callable[[Sequence[Record]], None],
        studies_at: Callable[[str], Sequence[str]] = lambda _path: (),
    ) -> None:
        self._write = write
        self._reads = reads
        self._current = current
        self._owner_of = owner_of
        self._studies_at = studies_at
        self._noted: dict[int, Request] = {}

    def dicomweb(self, who: Principal, query: Mapping[str, Any], refused: bool) -> None:
        """A look-up for the request of this thread; only the first of a request counts.

        What our own processes read is audited where somebody made them do it.
        """
        thread, request = threading.get_native_id(), self._current()
        if request is None or who.role is Role.SERVICE:
            return
        if self._noted.get(thread) is request and not refused:
            return
        self._noted[thread] = request
        resource = resource_of(query)
        tenant_id = who.tenant_id or self._owner_of(resource.removeprefix("study "))
        way = way_of(request.path, query)
        read = Read(who.name, tenant_id, request.address, Action.READ_STUDY, resource)
        if refused:
            self._reads.deny(read._replace(verdict="denied"), way)
        else:
            self._reads.note(read, way, series_of(request.path))

    def raw(self, request: Request, method: str) -> None:
        """A system admin at Orthanc's own REST: reads are counted, all else is written before.

        Of a patient, study, series or instance the owners of its studies are told.
        """
        who = request.principal
        if who is None or who.role is not Role.SYSTEM_ADMIN or request.path.startswith(_STATIC):
            return
        if routes.action_of(method, request.path) is not Action.RAW_ARCHIVE:
            return
        asked = f"{method} {request.path}"[:200]
        owned = [(f"study {uid}", self._owner_of(uid)) for uid in self._studies_at(request.path)]
        detail = f"Orthanc's REST: {asked}" if owned else "Orthanc's REST"
        for resource, tenant_id in owned or [(asked, None)]:
            read = Read(who.name, tenant_id, request.address, Action.RAW_ARCHIVE, resource)
            if method in ("GET", "HEAD"):
                self._reads.note(read, detail)
            else:
                self._write([_record(read, detail)])


def _record(read: Read, detail: str) -> Record:
    return Record(
        read.actor, read.action, read.resource, read.verdict, read.tenant_id, read.origin, detail
    )


class StudiesAt:
    """Which studies a path of Orthanc's own REST is about."""

    def __init__(self, orthanc: Orthanc) -> None:
        self._orthanc = orthanc

    def __call__(self, path: str) -> Sequence[str]:
        """Their StudyInstanceUIDs: none for what is no resource, or is not there."""
        level, _, rest = path.removeprefix("/").partition("/")
        number = rest.partition("/")[0]
        if level not in _PARENTS or not _ORTHANC_ID.fullmatch(number):
            return ()
        try:
            found = json.loads(self._orthanc.RestApiGet(f"/{level}/{number}{_PARENTS[level]}"))
        except self._orthanc.OrthancException:
            return ()
        studies = found if isinstance(found, list) else [found]
        return [study["MainDicomTags"]["StudyInstanceUID"] for study in studies]


class DimseAudit:
    """Notes C-FIND; writes a C-MOVE, which hands studies to somebody, before it begins."""

    def __init__(self, reads: Reads, write: Callable[[Sequence[Record]], None]) -> None:
        self._reads = reads
        self._write = write

    def find(
        self, who: Association, tenant_id: str, level: str, keys: Mapping[str, str], refused: bool
    ) -> None:
        """A C-FIND; `keys` are those that were given a value."""
        read = Read(who.calling, tenant_id, who.address, Action.READ_STUDY, resource_of(keys))
        way = f"C-FIND {searched(level, keys)}"
        if refused:
            self._reads.deny(read._replace(verdict="denied"), way)
        else:
            self._reads.note(read, way)

    def move(
        self,
        who: Association,
        tenant_id: str,
        study_uids: Sequence[str],
        target: CallingAE,
        instances: int,
    ) -> None:
        """A C-MOVE of so many instances, of all of these studies together."""
        detail = f"C-MOVE to {target.ae_title} at {target.host}:{target.port}: "
        self._write(
            [
                Record(
                    who.calling,
                    Action.READ_STUDY,
                    f"study {uid}",
                    "allowed" if instances else "denied",
                    tenant_id,
                    who.address,
                    detail + (f"{instances} instances" if instances else "nothing of the tenant's"),
                )
                for uid in study_uids
            ]
        )


class Watch:
    """Keeps the audit's anchor, and says so once when what it holds is gone from the trail."""

    def __init__(self, database: Database, anchor: Anchor) -> None:
        self._database = database
        self._anchor = anchor
        self._next = 0.0
        self._told = False

    def __call__(self) -> None:
        """Move the anchor on, at most once a second."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _ANCHOR_S
        with self._database.system_session("anchor of the audit") as session:
            if self._anchor.move(session) or self._told:
                return
            seal = self._anchor.read()
            log.error("the audit was tampered with: record %s is gone or changed", seal)
            record = Record("argonath", "audit.tampered", f"record {seal}", "failed")
            audit.append(session, record)
            self._told = True
