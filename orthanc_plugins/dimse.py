"""C-FIND and C-MOVE, each within the tenant of its AE titles; no worklist. C-GET is off: no hook.

Orthanc runs C-FIND callbacks one at a time: this one does nothing but one search.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from gateway import correlation
from gateway.access import Action
from gateway.errors import InvalidInput, UnknownAETitle
from gateway.tenancy import CallingAE, Directory
from orthanc_plugins.callers import Callers
from orthanc_plugins.modalities import Modalities
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
    """The callbacks of C-FIND, worklist and C-MOVE."""

    def __init__(
        self,
        orthanc: Orthanc,
        callers: Callers,
        modalities: Modalities,
        searcher: Searcher,
        directory: Callable[[], Directory],
        noted: DimseAudit,
    ) -> None:
        self._orthanc = orthanc
        self._callers = callers
        self._modalities = modalities
        self._searcher = searcher
        self._directory = directory
        self._noted = noted

    def find(self, answers: FindAnswers, query: FindQuery, issuer: str, called: str) -> None:
        """C-FIND; an exception becomes status 0xC000."""
        with correlation.operation():
            who, tenant_id = self._callers.admitted(called, issuer, Action.READ_STUDY)
            identifier = Identifier.from_query(query, self._orthanc.OrthancException)
            request, refused = identifier.request(), list[bool]()
            found = json.loads(
                self._searcher.find(request, tenant_id, lambda: refused.append(True))
            )
            self._noted.find(who, tenant_id, identifier.level, identifier.named, bool(refused))
        for match in found:
            tags = match.get("RequestedTags", {})
            answers.FindAddAnswer(encode(identifier.answer(tags, who.called)))

    def worklist(self, _answers: object, _query: object, issuer: str, called: str) -> None:
        """Modality Worklist: the policy lets nobody. Raises, which becomes status 0xC000."""
        with correlation.operation():
            self._callers.admitted(called, issuer, Action.READ_WORKLIST)

    def move_create(self, **asked: Any) -> Move:
        """C-MOVE begins: what of the tenant's is asked for, and may it go there. Raises 0xC000."""
        with correlation.operation():
            return self._begun(asked)

    def _begun(self, asked: dict[str, Any]) -> Move:
        sender = str(asked["SourceAET"]), str(asked["OriginatorAET"])
        who, tenant_id = self._callers.admitted(*sender, Action.READ_STUDY)
        try:
            target = self._target(tenant_id, str(asked["TargetAET"]))
        except UnknownAETitle as error:
            self._callers.refused(who, Action.READ_STUDY, error)
            raise
        query = _moved(asked)
        instances: list[str] = json.loads(
            self._searcher.find({"Level": "Instance", "Query": query}, tenant_id)
        )
        studies = self._studies(query, tenant_id)
        self._noted.move(who, tenant_id, studies, target, len(instances))
        return Move(
            alias=self._modalities.alias_of(target),
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

    def _target(self, tenant_id: str, title: str) -> CallingAE:
        for ae in self._directory().calling.get(tenant_id, ()):
            if ae.ae_title == title and ae.host and ae.port:
                return ae
        raise UnknownAETitle(f"C-MOVE to {title!r}: no host and port are listed for it.")

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
