"""C-FIND and C-MOVE, each within the tenant of its AE titles. C-GET has no hook and is off.

Orthanc runs C-FIND callbacks one at a time: this one does nothing but one search.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from gateway import audit, correlation
from gateway.access import Action
from gateway.db import Database
from gateway.dicom_tls.associations import Association, Associations
from gateway.errors import DatabaseUnavailable, GatewayError, InvalidInput, UnknownAETitle
from gateway.tenancy import CallingAE, Directory
from orthanc_plugins.reads import DimseAudit
from orthanc_plugins.sdk import FindAnswers, FindQuery, Orthanc
from orthanc_plugins.search import Searcher

log = logging.getLogger(__name__)

_LEVELS = {"STUDY": "Study", "SERIES": "Series", "IMAGE": "Instance"}
_QUERY_LEVEL, _CHARACTER_SET = 0x0008_0052, 0x0008_0005
# Said by the association or by this answer, not by the archive.
_NOT_SEARCHED = frozenset({_QUERY_LEVEL, _CHARACTER_SET, 0x0008_0054, 0x0008_0201})


@dataclass(frozen=True)
class Identifier:
    """A C-FIND identifier: the level, the keys to match, all tags to return."""

    level: str
    keys: dict[str, str]
    wanted: tuple[int, ...]

    @classmethod
    def from_query(cls, query: FindQuery, unreadable: type[Exception]) -> Identifier:
        """Read Orthanc's query; raises `InvalidInput` for a level that a tenant cannot search."""
        values = {
            (query.GetFindQueryTagGroup(i) << 16) | query.GetFindQueryTagElement(i): _text(
                query, i, unreadable
            )
            for i in range(query.GetFindQuerySize())
        }
        level = values.get(_QUERY_LEVEL, "").strip(" \0").upper()
        if level not in _LEVELS:
            raise InvalidInput(f"Query level {level!r}: ask at STUDY, SERIES or IMAGE.")
        wanted = tuple(tag for tag in values if tag not in _NOT_SEARCHED and keyword_for_tag(tag))
        keys = {tag: values[tag].strip(" \0") for tag in wanted}
        return cls(
            level,
            {f"{tag >> 16:04x},{tag & 0xFFFF:04x}": value for tag, value in keys.items() if value},
            wanted,
        )

    @property
    def named(self) -> dict[str, str]:
        """The keys to match by keyword."""
        return {keyword_for_tag(tag.replace(",", "")): value for tag, value in self.keys.items()}

    def request(self) -> dict[str, Any]:
        """The same as a request for /tools/find."""
        return {
            "Level": _LEVELS[self.level],
            "Query": self.keys,
            "CaseSensitive": False,
            "ResponseContent": ["RequestedTags"],
            "RequestedTags": [f"{tag >> 16:04x},{tag & 0xFFFF:04x}" for tag in self.wanted],
        }

    def answer(self, tags: dict[str, Any], called: str) -> Dataset:
        """One match with every tag that was asked for, empty where the archive has nothing."""
        match = Dataset()
        match.SpecificCharacterSet = "ISO_IR 192"
        match.QueryRetrieveLevel = self.level
        match.RetrieveAETitle = called
        for tag in self.wanted:
            vr = dictionary_VR(tag)
            value = tags.get(keyword_for_tag(tag))
            if vr == "SQ" or not isinstance(value, str):
                match.add_new(tag, vr, None)
            else:
                _add(match, tag, vr, value)
        return match


def _text(query: FindQuery, index: int, unreadable: type[Exception]) -> str:
    """The value of a key; what is no text (a sequence, an empty number) matches everything."""
    try:
        return query.GetFindQueryValue(index) or ""
    except unreadable:
        return ""


def _add(match: Dataset, tag: int, vr: str, value: str) -> None:
    try:
        match.add_new(tag, vr, int(value) if vr in ("US", "SS", "UL", "SL") and value else value)
    except (ValueError, TypeError):
        # A stored value that pydicom does not accept is told as absent, not by a failed query.
        match.add_new(tag, vr, None)


def encode(match: Dataset) -> bytes:
    """The match as Orthanc takes it: a DICOM file."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.2.2.1")
    meta.MediaStorageSOPInstanceUID = UID("2.25.1")
    match.file_meta = meta
    buffer = io.BytesIO()
    match.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _moved(asked: dict[str, Any]) -> dict[str, str]:
    """The query for what a C-MOVE names; raises `InvalidInput` when it names nothing."""
    keys = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "AccessionNumber")
    query = {key: value for key in keys if (value := str(asked.get(key) or "").strip(" \0"))}
    if not query:
        raise InvalidInput("C-MOVE without a UID: name a study, series or instance.")
    return query


@dataclass
class Move:
    """A C-MOVE under way: what goes where."""

    alias: str
    local: str
    originator: str
    message_id: int
    instances: list[str]
    sent: int = field(default=0)


class Dimse:
    """The callbacks of C-FIND and C-MOVE."""

    def __init__(
        self,
        orthanc: Orthanc,
        database: Database,
        searcher: Searcher,
        directory: Callable[[], Directory],
        associations: Associations,
        noted: DimseAudit,
    ) -> None:
        self._orthanc = orthanc
        self._database = database
        self._searcher = searcher
        self._directory = directory
        self._associations = associations
        self._noted = noted
        self._modalities: set[str] = set()

    def find(self, answers: FindAnswers, query: FindQuery, issuer: str, called: str) -> None:
        """C-FIND; an exception becomes status 0xC000."""
        with correlation.operation():
            who, tenant_id = self._admitted(called, issuer)
            identifier = Identifier.from_query(query, self._orthanc.OrthancException)
            request, refused = identifier.request(), list[bool]()
            found = json.loads(
                self._searcher.find(request, tenant_id, lambda: refused.append(True))
            )
            self._noted.find(who, tenant_id, identifier.level, identifier.named, bool(refused))
        for match in found:
            tags = match.get("RequestedTags", {})
            answers.FindAddAnswer(encode(identifier.answer(tags, who.called)))

    def move_create(self, **asked: Any) -> Move:
        """C-MOVE begins: what of the tenant's is asked for, and may it go there. Raises 0xC000."""
        with correlation.operation():
            return self._begun(asked)

    def _begun(self, asked: dict[str, Any]) -> Move:
        who, tenant_id = self._admitted(str(asked["SourceAET"]), str(asked["OriginatorAET"]))
        try:
            target = self._target(tenant_id, str(asked["TargetAET"]))
        except UnknownAETitle as error:
            self._refused(who, error)
            raise
        query = _moved(asked)
        instances: list[str] = json.loads(
            self._searcher.find({"Level": "Instance", "Query": query}, tenant_id)
        )
        studies = self._studies(query, tenant_id)
        self._noted.move(who, tenant_id, studies, target, len(instances))
        return Move(
            alias=self._modality(target),
            local=who.called,
            originator=who.calling,
            message_id=int(asked["OriginatorID"]),
            instances=instances,
        )

    def move_size(self, move: Move) -> int:
        """How many sub-operations there will be."""
        return len(move.instances)

    def move_apply(self, move: Move) -> int:
        """Send the next instance. Must not raise: Orthanc would then stop and count wrong."""
        instance = move.instances[move.sent]
        move.sent += 1
        try:
            self._orthanc.RestApiPost(
                f"/modalities/{move.alias}/store",
                json.dumps(
                    {
                        "Resources": [instance],
                        "Synchronous": True,
                        "LocalAet": move.local,
                        "MoveOriginatorAet": move.originator,
                        "MoveOriginatorID": move.message_id,
                    }
                ),
            )
            return 0
        except Exception:
            log.exception("C-MOVE: instance %s was not delivered", instance)
            return 1

    def move_free(self, move: Move) -> None:
        """Nothing is held."""

    def _admitted(self, called: str, issuer: str) -> tuple[Association, str]:
        """Who asks, and the tenant whose studies it sees."""
        who = Association(called, issuer)
        try:
            who = self._associations.of(called, issuer)
            return who, self._directory().tenant_of_query(
                who.called, who.calling, who.address, who.certificate
            )
        except GatewayError as error:
            self._refused(who, error)
            raise

    def _target(self, tenant_id: str, title: str) -> CallingAE:
        for ae in self._directory().calling.get(tenant_id, ()):
            if ae.ae_title == title and ae.host and ae.port:
                return ae
        raise UnknownAETitle(f"C-MOVE to {title!r}: no host and port are listed for it.")

    def _modality(self, target: CallingAE) -> str:
        """The name under which Orthanc knows where to send; told to it once."""
        place = f"{target.ae_title}|{target.host}|{target.port}"
        alias = "move-" + hashlib.sha256(place.encode()).hexdigest()[:32]
        if alias in self._modalities:
            return alias
        # Orthanc's own default for a modality allows C-GET, which no hook restricts.
        denied = (
            "Echo",
            "EventReport",
            "Find",
            "FindWorklist",
            "Get",
            "Move",
            "NAction",
            "Store",
        )
        self._orthanc.RestApiPut(
            f"/modalities/{alias}",
            json.dumps(
                {"AET": target.ae_title, "Host": target.host, "Port": target.port}
                | {f"Allow{operation}": False for operation in denied}
            ),
        )
        self._modalities.add(alias)
        return alias

    def _studies(self, query: dict[str, str], tenant_id: str) -> list[str]:
        """The UIDs of the studies that a C-MOVE names, or that have what it names."""
        if named := query.get("StudyInstanceUID"):
            return named.split("\\")
        request = {
            "Level": "Instance",
            "Query": query,
            "ResponseContent": ["RequestedTags"],
            "RequestedTags": ["StudyInstanceUID"],
        }
        found = json.loads(self._searcher.find(request, tenant_id))
        return sorted({match["RequestedTags"]["StudyInstanceUID"] for match in found})

    def _refused(self, who: Association, error: GatewayError) -> None:
        log.warning("query refused: %s", error.code)
        try:
            with self._database.system_session("audit refusal") as session:
                audit.append(
                    session,
                    audit.Record(
                        actor=who.calling,
                        action=Action.READ_STUDY,
                        resource=f"called {who.called}",
                        verdict="denied",
                        tenant_id=self._directory().called.get(who.called),
                        origin=who.address,
                        detail=error.code,
                    ),
                )
        except DatabaseUnavailable:
            log.error("the audit record of a refusal could not be written")
