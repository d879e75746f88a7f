"""Admission of every instance: whose it is, decided before it is stored; labels; progress.

For one instance everything here runs on one native thread, in this order: `received` (bytes),
`admit` (from Lua, which knows the AE titles), `c_store_status` (C-STORE only), and, when Orthanc
has stored it, `stored` - which returns before the sender is answered.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway import access, audit, studies
from gateway.access import Action
from gateway.db import Database
from gateway.errors import (
    DatabaseUnavailable,
    ForeignStudy,
    GatewayError,
    NotAllowed,
    UnusableObject,
)
from gateway.studies import Arrival
from gateway.tenancy import Directory, label_of
from orthanc_plugins.access import Request
from orthanc_plugins.arrivals import Arrivals
from orthanc_plugins.sdk import DicomInstance, Origin, Orthanc, Received, RestOutput

log = logging.getLogger(__name__)

PROCEED = "proceed"
_UID = re.compile(r"[0-9.]{1,64}", re.ASCII)
_ITEM = b"\xfe\xff\x00\xe0"
_PARSED_BEFORE = frozenset({Origin.DICOM_PROTOCOL, Origin.PLUGIN})
_LABELLED_AT_MOST = 100_000
_PAUSE_AFTER_FAILURE_S = 1.0


@dataclass(frozen=True)
class Question:
    """What Lua tells of an instance that wants to be stored."""

    origin: str
    patient_id: str
    study_uid: str
    series_uid: str
    instance_uid: str
    calling: str = ""
    called: str = ""
    address: str = ""
    patient_name: str = ""
    study_date: str = ""
    study_description: str = ""
    accession_number: str = ""
    modality: str = ""

    @classmethod
    def from_json(cls, body: bytes) -> Question:
        """Read Lua's question; a tag that is missing or no text is empty."""
        asked = json.loads(body)

        def text(name: str) -> str:
            value = asked.get(name)
            return value.strip(" \0") if isinstance(value, str) else ""

        return cls(
            origin=text("RequestOrigin"),
            patient_id=text("PatientID"),
            study_uid=text("StudyInstanceUID"),
            series_uid=text("SeriesInstanceUID"),
            instance_uid=text("SOPInstanceUID"),
            calling=text("RemoteAet"),
            called=text("CalledAet"),
            address=text("RemoteIp"),
            patient_name=text("PatientName"),
            study_date=text("StudyDate"),
            study_description=text("StudyDescription"),
            accession_number=text("AccessionNumber"),
            modality=text("Modality"),
        )

    @property
    def is_dimse(self) -> bool:
        """Whether it came by C-STORE."""
        return self.origin == "DicomProtocol"

    def arrival(self, source: str) -> Arrival:
        """What the row of a new study tells. PostgreSQL's text holds no NUL."""
        return Arrival(
            self.study_uid,
            *(
                value.replace("\0", "")
                for value in (
                    self.patient_id,
                    self.patient_name,
                    self.study_date,
                    self.study_description,
                    self.accession_number,
                    self.modality,
                    source,
                )
            ),
        )


@dataclass(frozen=True)
class Verdict:
    """What was decided on a thread's present instance; `status` 0 lets it be stored."""

    status: int
    question: Question | None = None
    tenant_id: str | None = None  # None although admitted: the output of a job, see `_adopt`
    source: str = ""


_NOTHING_ADMITTED = Verdict(DatabaseUnavailable.dimse_status)


class Ingest:
    """Admission and what follows it."""

    def __init__(
        self,
        orthanc: Orthanc,
        database: Database,
        arrivals: Arrivals,
        directory: Callable[[], Directory],
        current: Callable[[], Request | None],
        *,
        max_sequence_items: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._orthanc = orthanc
        self._database = database
        self._arrivals = arrivals
        self._directory = directory
        self._current = current
        self._max_items = max_sequence_items
        self._clock = clock
        self._verdicts: dict[int, Verdict] = {}
        self._labelled: dict[str, None] = {}
        self._database_failed_at = -_PAUSE_AFTER_FAILURE_S

    # Callbacks, in the order in which an instance meets them ------------------------------------

    def received(self, dicom: bytes, origin: int) -> tuple[int, bytes | None]:
        """Refuse, before Orthanc parses it, what Orthanc would not survive. Fails closed.

        Only POST /instances can be saved here: DCMTK has parsed a C-STORE and the DICOMweb plugin
        a STOW before (either crashes), so counting their items would cost 0.3 ms for nothing.
        """
        try:
            self._verdicts.pop(threading.get_native_id(), None)
            if origin in _PARSED_BEFORE or dicom.count(_ITEM) <= self._max_items:
                return Received.KEEP_AS_IS, None
            error = UnusableObject(f"More than {self._max_items} sequence items.")
            self._refused(error, None, "an object")
        except Exception:
            log.exception("the check of a received object failed; it is refused")
        # The only refusal that Orthanc knows here: what cannot be parsed is not stored.
        return Received.MODIFY, b"refused"

    def admit_route(self, output: RestOutput, _uri: str, body: bytes = b"", **_: Any) -> None:
        """POST /argonath/admit, which only Lua reaches: the request filter refuses it to all."""
        output.AnswerBuffer(self.admit(body), "text/plain")

    def admit(self, body: bytes) -> str:
        """Decide on an instance; `PROCEED` or a word that is an error for Lua."""
        thread = threading.get_native_id()
        self._verdicts[thread] = _NOTHING_ADMITTED
        try:
            question = Question.from_json(body)
        except Exception:
            log.exception("admission asked an unreadable question")
            return "unreadable"
        try:
            verdict = self._decide(question)
        except GatewayError as error:
            verdict = Verdict(error.dimse_status, question)
            self._refused(error, question, "an object")
        except Exception:
            log.exception("admission failed; the instance is refused")
            verdict = Verdict(DatabaseUnavailable.dimse_status, question)
        self._verdicts[thread] = verdict
        # By DIMSE a refusal goes on to `c_store_status`, the only one who can name a status.
        return PROCEED if question.is_dimse or verdict.status == 0 else "refused"

    def c_store_status(self, _dicom: DicomInstance) -> int:
        """The DIMSE status of what `admit` decided on this thread; 0 stores it."""
        return self._verdicts.get(threading.get_native_id(), _NOTHING_ADMITTED).status

    def stored(self, dicom: DicomInstance, orthanc_id: str) -> None:
        """Everything that must be true before the sender is told that the instance is safe."""
        verdict = self._verdicts.pop(threading.get_native_id(), None)
        try:
            if verdict is None or verdict.question is None or verdict.status != 0:
                raise ForeignStudy("It was stored without admission.")
            verdict = self._checked(verdict, dicom, orthanc_id)
            tenant_id = verdict.tenant_id
            assert tenant_id is not None
            assert verdict.question is not None
            self._count(verdict.question, tenant_id, verdict.source)
            self._label(verdict.question, tenant_id, orthanc_id)
        except DatabaseUnavailable as error:
            # The claim is in the database since admission: completion picks the study up.
            log.error("a stored instance could not be noted: %s", error.detail)
        except GatewayError as error:
            self._remove(dicom, orthanc_id, error, verdict)

    # Decisions ----------------------------------------------------------------------------------

    def _decide(self, question: Question) -> Verdict:
        uids = (question.study_uid, question.series_uid, question.instance_uid)
        if not all(_UID.fullmatch(uid) for uid in uids):
            raise UnusableObject("A UID is missing or is none.")
        tenant_id, source = self._sender(question)
        if tenant_id is None:
            return Verdict(0, question, None, source)
        owner = self._arrivals.owner_of(question.study_uid)
        if owner is not None and owner != tenant_id:
            raise ForeignStudy(f"StudyInstanceUID {question.study_uid}.")
        if owner is None or not self._arrivals.is_open(question.study_uid):
            self._claim(question, tenant_id, source)
        return Verdict(0, question, tenant_id, source)

    def _sender(self, question: Question) -> tuple[str | None, str]:
        """The tenant that sends, and a word on it for the row of the study."""
        if question.is_dimse:
            tenant_id = self._directory().tenant_of_store(
                question.called, question.calling, question.address
            )
            return tenant_id, f"C-STORE {question.calling} {question.address}"
        request = self._current()
        if request is None:
            return None, "job"
        if request.principal is None:
            raise NotAllowed("Nobody is signed in.")
        access.require(request.principal, Action.STORE_STUDY)
        if request.principal.tenant_id is None:
            raise NotAllowed("Storing needs a tenant.")
        return request.principal.tenant_id, f"STOW-RS {request.principal.name} {request.address}"

    def _claim(self, question: Question, tenant_id: str, source: str) -> None:
        """One short transaction for each new arrival of a study."""
        if self._clock() - self._database_failed_at < _PAUSE_AFTER_FAILURE_S:
            # Admissions run one at a time: waiting for a dead database again would stop them all.
            raise DatabaseUnavailable
        try:
            with self._database.system_session("claim study") as session:
                known = studies.find(session, question.study_uid) is not None
                studies.claim(session, tenant_id, question.arrival(source))
                if not known:
                    audit.append(
                        session,
                        audit.Record(
                            actor=question.calling or self._actor(),
                            action=Action.STORE_STUDY,
                            resource=f"study {question.study_uid}",
                            verdict="allowed",
                            tenant_id=tenant_id,
                            origin=question.address or self._address(),
                        ),
                    )
        except DatabaseUnavailable:
            self._database_failed_at = self._clock()
            raise
        self._arrivals.learn(question.study_uid, tenant_id)

    # After storing ------------------------------------------------------------------------------

    def _checked(self, verdict: Verdict, dicom: DicomInstance, orthanc_id: str) -> Verdict:
        """The verdict is about this very instance; a job's output gets its parent's owner."""
        question = verdict.question
        assert question is not None
        expected = studies.orthanc_id(
            question.patient_id, question.study_uid, question.series_uid, question.instance_uid
        )
        if expected != orthanc_id:
            # A PatientID that Lua and Orthanc write differently is no harm; another study is.
            told = json.loads(dicom.GetInstanceSimplifiedJson())
            if str(told.get("StudyInstanceUID", "")).strip(" \0") != question.study_uid:
                raise ForeignStudy("What was stored is not what was admitted.")
        if verdict.tenant_id is not None:
            return verdict
        return self._adopt(question, dicom)

    def _adopt(self, question: Question, dicom: DicomInstance) -> Verdict:
        """A job's output belongs to the owner of what it was made from."""
        for name in ("AnonymizedFrom", "ModifiedFrom"):
            if not dicom.HasInstanceMetadata(name):
                continue
            parent = json.loads(
                self._orthanc.RestApiGet(f"/instances/{dicom.GetInstanceMetadata(name)}/study")
            )
            tenant_id = self.owner_of(parent["MainDicomTags"]["StudyInstanceUID"])
            if tenant_id is None:
                break
            self._claim(question, tenant_id, f"job {name}")
            return Verdict(0, question, tenant_id, f"job {name}")
        raise NotAllowed("A job's output has no owner.")

    def owner_of(self, study_uid: str) -> str | None:
        """The owner of a study, from memory or from the database."""
        owner = self._arrivals.owner_of(study_uid)
        if owner is None and _UID.fullmatch(study_uid):
            with self._database.system_session("owner of study") as session:
                row = studies.find(session, study_uid)
            if row is not None:
                owner = str(row["tenant_id"])
                self._arrivals.learn(study_uid, owner)
        return owner

    def _label(self, question: Question, tenant_id: str, orthanc_id: str) -> None:
        """Label study and series once each; the label narrows searches, the row decides."""
        series = studies.orthanc_id(question.patient_id, question.study_uid, question.series_uid)
        if series in self._labelled:
            return
        label = label_of(tenant_id)
        study = studies.orthanc_id(question.patient_id, question.study_uid)
        try:
            self._orthanc.RestApiPut(f"/studies/{study}/labels/{label}", b"")
            self._orthanc.RestApiPut(f"/series/{series}/labels/{label}", b"")
        except self._orthanc.OrthancException:
            # The PatientID is written differently: ask for the ids.
            for level in ("study", "series"):
                found = json.loads(self._orthanc.RestApiGet(f"/instances/{orthanc_id}/{level}"))
                kind = "studies" if level == "study" else level
                self._orthanc.RestApiPut(f"/{kind}/{found['ID']}/labels/{label}", b"")
        while len(self._labelled) >= _LABELLED_AT_MOST:
            self._labelled.pop(next(iter(self._labelled)), None)
        self._labelled[series] = None

    def unlabelled(self, orthanc_id: str) -> None:
        """A study or series was deleted: what comes under its id again needs its label again."""
        self._labelled.pop(orthanc_id, None)

    def _count(self, question: Question, tenant_id: str, source: str) -> None:
        if self._arrivals.count(question.study_uid):
            return
        # New, or closed since admission: the row must say `receiving` before the answer.
        with self._database.system_session("study arrives") as session:
            studies.claim(session, tenant_id, question.arrival(source))
            studies.mark_receiving(session, question.study_uid)
        self._arrivals.open(question.study_uid, tenant_id)

    def _remove(
        self, dicom: DicomInstance, orthanc_id: str, error: GatewayError, verdict: Verdict | None
    ) -> None:
        """Take out what should not have come in, but never what was there before."""
        kept = json.loads(self._orthanc.RestApiGet(f"/instances/{orthanc_id}/metadata?expand"))
        names = ("ReceptionDate", "AnonymizedFrom", "ModifiedFrom")
        if all(
            dicom.GetInstanceMetadata(name) == kept.get(name)
            for name in names
            if dicom.HasInstanceMetadata(name)
        ):
            self._orthanc.RestApiDelete(f"/instances/{orthanc_id}")
        question = verdict.question if verdict else None
        self._refused(error, question, f"instance {orthanc_id}")

    # Audit --------------------------------------------------------------------------------------

    def _actor(self) -> str:
        request = self._current()
        return request.principal.name if request and request.principal else "unknown"

    def _address(self) -> str:
        request = self._current()
        return request.address if request else ""

    def _refused(self, error: GatewayError, question: Question | None, resource: str) -> None:
        """Log and audit a refusal, for the tenant that sent; the owner's name is not told."""
        if question is not None and question.study_uid:
            resource = f"study {question.study_uid[:64]}"
        log.warning("refused %s: %s %s", resource, error.code, error.detail)
        if self._clock() - self._database_failed_at < _PAUSE_AFTER_FAILURE_S:
            return
        request = self._current()
        tenant_id = request.principal.tenant_id if request and request.principal else None
        if question is not None and question.is_dimse:
            tenant_id = self._directory().called.get(question.called)
        record = audit.Record(
            actor=(question.calling if question else "") or self._actor(),
            action=Action.STORE_STUDY,
            resource=resource,
            verdict="denied",
            tenant_id=tenant_id,
            origin=(question.address if question else "") or self._address(),
            detail=f"{error.code} {error.detail}".strip(),
        )
        try:
            with self._database.system_session("audit refusal") as session:
                audit.append(session, record)
        except DatabaseUnavailable:
            self._database_failed_at = self._clock()
            log.error("the audit record of a refusal could not be written")
