"""Admission of every instance: whose it is, decided before it is stored; labels; progress.

For one instance everything here runs on one native thread, in this order: `admit` (from Lua, which
knows the AE titles), `c_store_status` (C-STORE only), and, when Orthanc has stored it, `stored` -
which returns before the sender is answered. Where another file is stored in its place
(`before_storage.py`), that one passes through all of this inside the `admit` of the first. The path
of an instance of a study that is arriving already is kept short: whatever it costs is paid with
locks held that all associations share.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from gateway import access, audit, senders, studies
from gateway.access import Action
from gateway.arriving import NOBODY
from gateway.db import Database, Session
from gateway.dicom_tls.associations import Association, Associations
from gateway.errors import (
    DatabaseUnavailable,
    ForeignStudy,
    GatewayError,
    NotAllowed,
    UnknownAETitle,
)
from gateway.tenancy import Directory, label_of
from orthanc_plugins.access import Request
from orthanc_plugins.arrivals import Arrivals
from orthanc_plugins.before_storage import BeforeStorage
from orthanc_plugins.lifeline import Lifeline
from orthanc_plugins.question import Question, Source, Verdict, is_uid
from orthanc_plugins.sdk import DicomInstance, Orthanc, RestOutput
from orthanc_plugins.senders import JOB, Known, Sender, Senders

log = logging.getLogger(__name__)

PROCEED, DESCRIBE, STORED, REFUSED = "proceed", "describe", "stored", "refused"
_IS_STORED = frozenset({"Success", "AlreadyStored"})
_LABELLED_AT_MOST = 100_000
_SENDERS_AT_MOST = 10_000
_PAUSE_AFTER_FAILURE_S = 1.0


_NOTHING_ADMITTED = Verdict(DatabaseUnavailable.dimse_status)
_series_id = lru_cache(10_000)(studies.orthanc_id)


class Ingest:
    """Admission and what follows it."""

    def __init__(
        self,
        orthanc: Orthanc,
        database: Database,
        arrivals: Arrivals,
        directory: Callable[[], Directory],
        current: Callable[[], Request | None],
        lifeline: Lifeline,
        associations: Associations,
        before: BeforeStorage,
        *,
        claim_is_fresh_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._orthanc = orthanc
        self._database = database
        self._arrivals = arrivals
        self._directory = directory
        self._current = current
        self._lifeline = lifeline
        self._associations = associations
        self._before = before
        self._claim_is_fresh_s = claim_is_fresh_s
        self._clock = clock
        self._verdicts: dict[int, Verdict] = {}
        self._labelled: dict[str, None] = {}
        self._database_failed_at = -_PAUSE_AFTER_FAILURE_S
        self._senders: tuple[Directory, dict[tuple[str, str, str], str]] = (directory(), {})
        self._told = Senders()
        self._owed: deque[Verdict] = deque()

    # Callbacks, in the order in which an instance meets them ------------------------------------

    def admit_route(self, output: RestOutput, _uri: str, body: bytes = b"", **_: Any) -> None:
        """POST /argonath/admit, which only Lua reaches: the request filter refuses it to all."""
        output.AnswerBuffer(self.admit(body), "text/plain")

    def admit(self, body: bytes) -> str:
        """Decide on an instance; `PROCEED`, `DESCRIBE`, `STORED` or an error for Lua.

        Lua asks with the first fields of a question; `DESCRIBE` makes it ask again with all, as
        JSON, because more is to be done than to let the instance pass. `STORED`: another file was
        stored in its place, so it is acknowledged and let go.
        """
        thread = threading.get_native_id()
        self._verdicts[thread] = _NOTHING_ADMITTED
        try:
            if not body.startswith(b"{"):
                return self._pass(thread, Question.from_fields(body))
            question = self._before.asked(thread, Question.from_json(body))
        except Exception:
            log.exception("admission asked an unreadable question")
            return "unreadable"
        try:
            question.check_uids()
            tenant_id, source = self._sender(question)
            instead = self._settled(thread, question, tenant_id, source)
            if instead is not None:
                return self._store_instead(thread, question, instead)
            verdict = self._decide(question, tenant_id, source)
        except GatewayError as error:
            verdict = Verdict(error.dimse_status, question)
            self._refused(error, question, "an object")
        except Exception:
            log.exception("admission failed; the instance is refused")
            verdict = Verdict(DatabaseUnavailable.dimse_status, question)
        self._verdicts[thread] = verdict
        if verdict.status != 0:
            self._lifeline.rests(thread)
        # By DIMSE a refusal goes on to `c_store_status`, the only one who can name a status.
        names_it = question.is_dimse and not self._before.is_instead(thread)
        return PROCEED if names_it or verdict.status == 0 else REFUSED

    def c_store_status(self, _dicom: DicomInstance) -> int:
        """The DIMSE status of what `admit` decided on this thread; 0 stores it."""
        return self._verdicts.get(threading.get_native_id(), _NOTHING_ADMITTED).status

    def stored(self, dicom: DicomInstance, orthanc_id: str) -> None:
        """Everything that must be true before the sender is told that the instance is safe."""
        thread = threading.get_native_id()
        verdict = self._verdicts.pop(thread, None)
        self._lifeline.rests(thread)
        try:
            if verdict is None or verdict.question is None or verdict.status != 0:
                raise ForeignStudy("It was stored without admission.")
            verdict = self._checked(verdict, dicom, orthanc_id)
            self._count(verdict)
            self._label(verdict, orthanc_id)
        except DatabaseUnavailable as error:
            # The row was `claimed` or `receiving` at admission; if it became stable meanwhile,
            # it must be reopened, or what was acknowledged would never be told.
            if verdict is not None and verdict.tenant_id is not None:
                self._owed.append(verdict)
            log.error("a stored instance could not be noted yet: %s", error.detail)
        except GatewayError as error:
            self._remove(dicom, orthanc_id, error, verdict)

    def count_owed(self) -> None:
        """Note what was stored while the database was away; raises `DatabaseUnavailable` again."""
        while self._owed:
            try:
                self._count(self._owed[0])
            except ForeignStudy:
                log.error("a study was deleted and has another owner before it was told of")
            self._owed.popleft()

    # Decisions ----------------------------------------------------------------------------------

    def _pass(self, thread: int, question: Question | None) -> str:
        """Admit one more instance of a study that its owner is sending. The hot path."""
        if question is None:
            return DESCRIBE
        question = self._before.asked(thread, question)
        tenant_id = self._known_sender(thread, question)
        if (
            tenant_id is None
            or not self._arrivals.is_arriving(question.study_uid, tenant_id)
            or not is_uid(question.series_uid)
            or not is_uid(question.instance_uid)
            or not self._told.has(
                question.study_uid, self._sender_of(question), question.series_uid
            )
            or not self._before.stands(thread, tenant_id, question)
        ):
            return DESCRIBE
        self._verdicts[thread] = Verdict(0, question, tenant_id)
        return PROCEED

    def _known_sender(self, thread: int, question: Question) -> str | None:
        """The tenant that sends, if that is known without looking into the directory."""
        if question.is_dimse:
            directory, known = self._senders
            if directory is not self._directory():
                return None
            return known.get((question.called, question.calling, question.address))
        self._lifeline.goes_on(thread)
        request = self._current()
        who = request.principal if request else None
        permitted = who is not None and access.permits(who, Action.STORE_STUDY)
        return who.tenant_id if who is not None and permitted else None

    def _known_from_now_on(
        self, directory: Directory, sender: tuple[str, str, str], tenant_id: str
    ) -> None:
        if self._senders[0] is not directory:
            self._senders = (directory, {})
        if len(self._senders[1]) >= _SENDERS_AT_MOST:
            self._senders[1].clear()  # by TLS each association is another sender
        self._senders[1][sender] = tenant_id

    def _settled(
        self, thread: int, question: Question, tenant_id: str | None, source: Source
    ) -> bytes | None:
        """What is to be stored in place of what Orthanc has; None: that."""
        if not self._before.known:
            with self._session("transforms before storage") as session:
                self._before.load(session)
        if tenant_id is None:
            return None
        return self._before.settle(thread, tenant_id, question, source.sender)

    def _store_instead(self, thread: int, question: Question, file: bytes) -> str:
        """Store a file in place of the one that Orthanc has, with all that belongs to storing."""
        stored = False
        try:
            with self._before.instead(thread, question):
                answer = json.loads(self._orthanc.RestApiPost("/instances", file))
            stored = answer.get("Status") in _IS_STORED
        except self._orthanc.OrthancException:
            log.warning("an object that was changed before storage could not be stored")
        if stored:
            return STORED
        status = self._verdicts.get(thread, _NOTHING_ADMITTED).status
        self._verdicts[thread] = Verdict(status or DatabaseUnavailable.dimse_status, question)
        return PROCEED if question.is_dimse else REFUSED

    def _decide(self, question: Question, tenant_id: str | None, source: Source) -> Verdict:
        if tenant_id is None:
            return Verdict(0, question, None, source)
        owner = self._arrivals.owner_of(question.study_uid)
        if owner is not None and owner != tenant_id:
            raise ForeignStudy(f"StudyInstanceUID {question.study_uid}.")
        if owner is None or not self._arrivals.is_open(question.study_uid):
            claimed_at = self._claim(question, tenant_id, source)
            return Verdict(0, question, tenant_id, source, claimed_at)
        if not self._told.has(question.study_uid, self._sender_of(question), question.series_uid):
            with self._session("another sender") as session:
                first = senders.sent_first(session, question.study_uid, source.sender)
                told = self._tell(session, question, tenant_id, source, first=first)
            self._told.add(question.study_uid, told)
        return Verdict(0, question, tenant_id, source)

    def _sender(self, question: Question) -> tuple[str | None, Source]:
        """The tenant that sends, and who that is for the row of the study."""
        if question.is_dimse:
            directory = self._directory()
            sender = (question.called, question.calling, question.address)
            who = self._associations.of(*sender)
            tenant_id = directory.tenant_of_store(
                who.called, who.calling, who.address, who.certificate
            )
            self._known_from_now_on(directory, sender, tenant_id)
            return tenant_id, Source.by_c_store(who)
        request = self._current()
        if request is None:
            return None, Source("job")
        if request.principal is None:
            raise NotAllowed("Nobody is signed in.")
        access.require(request.principal, Action.STORE_STUDY)
        if request.principal.tenant_id is None:
            raise NotAllowed("Storing needs a tenant.")
        source = Source.by_stow_rs(request.principal.name, request.address)
        return request.principal.tenant_id, source

    def _claim(self, question: Question, tenant_id: str, source: Source) -> float:
        """One short transaction for each new arrival of a study; the clock before it."""
        begin = self._clock()
        with self._session("claim study") as session:
            claimed = studies.claim(session, tenant_id, question.arrival(source))
            self._told.begin(question.study_uid, claimed.arrival)
            told = self._tell(session, question, tenant_id, source, first=claimed.sent_first)
        self._told.add(question.study_uid, told)
        self._arrivals.learn(question.study_uid, tenant_id)
        return begin

    @contextmanager
    def _session(self, reason: str) -> Iterator[Session]:
        """A system session, unless the database was away a moment ago.

        Admissions run one at a time: waiting for it again would stop them all.
        """
        if self._clock() - self._database_failed_at < _PAUSE_AFTER_FAILURE_S:
            raise DatabaseUnavailable
        try:
            with self._database.system_session(reason) as session:
                yield session
        except DatabaseUnavailable:
            self._database_failed_at = self._clock()
            raise

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
            source = Source(f"job {name}")
            claimed_at = self._claim(question, tenant_id, source)
            return Verdict(0, question, tenant_id, source, claimed_at)
        raise NotAllowed("A job's output has no owner.")

    def owner_of(self, study_uid: str) -> str | None:
        """The owner of a study, from memory or from the database."""
        return self._arrivals.owner_of(study_uid) or self.look_up(study_uid)

    def look_up(self, study_uid: str) -> str | None:
        """The owner of a study, from the database."""
        if not is_uid(study_uid):
            return None
        with self._database.system_session("owner of study") as session:
            row = studies.find(session, study_uid)
        if row is None:
            return None
        self._arrivals.learn(study_uid, str(row["tenant_id"]))
        return str(row["tenant_id"])

    def _label(self, verdict: Verdict, orthanc_id: str) -> None:
        """Label study and series once each; the label narrows searches, the row decides."""
        question, tenant_id = verdict.known()
        series = _series_id(question.patient_id, question.study_uid, question.series_uid)
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

    def _count(self, verdict: Verdict) -> None:
        question, tenant_id = verdict.known()
        if self._arrivals.count(question.study_uid):
            return
        # New, or closed since admission. A claim that was made just now stands as it is: it neither
        # expires nor becomes stable before completion has told the database of this instance; and
        # after a kill completion finds the instance by the claim.
        is_fresh = self._clock() - verdict.claimed_at < self._claim_is_fresh_s
        if not is_fresh or self._arrivals.owner_of(question.study_uid) != tenant_id:
            with self._database.system_session("study arrives") as session:
                studies.claim(session, tenant_id, question.arrival(verdict.source))
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

    def _is_begun(self, question: Question) -> bool:
        """Whether something of the series is stored."""
        series = _series_id(question.patient_id, question.study_uid, question.series_uid)
        if series in self._labelled:
            return True
        try:
            self._orthanc.RestApiGet(f"/series/{series}")
        except self._orthanc.OrthancException:
            return False
        return True

    # Audit --------------------------------------------------------------------------------------

    def _tell(
        self, session: Session, question: Question, tenant_id: str, source: Source, *, first: bool
    ) -> list[Known]:
        """Record who stores into this arrival of the study, once; as whom to remember them.

        Who did not send the study's first instance is noted for each series that they begin; a
        job's output is stored before anybody asks.
        """
        who = self._who(question)
        actor, origin = question.calling or self._actor(), who.address or self._address()
        evidence = who.certificate.evidence if who.certificate else ""
        sender = (question.called, actor, f"{origin} {evidence}")
        if not self._told.has(question.study_uid, sender):
            audit.append(
                session,
                audit.Record(
                    actor=actor,
                    action=Action.STORE_STUDY,
                    resource=f"study {question.study_uid}",
                    verdict="allowed",
                    tenant_id=tenant_id,
                    origin=origin,
                    detail=evidence,
                ),
            )
        if first:
            return [sender, self._sender_of(question)]
        if source.sender == NOBODY or not self._is_begun(question):
            senders.begins_series(session, question.study_uid, question.series_uid, source.sender)
        return [sender, (*self._sender_of(question), question.series_uid)]

    def _sender_of(self, question: Question) -> Sender:
        """Who sends, as cheaply as it can be told."""
        if question.is_dimse:
            return question.called, question.calling, question.address
        request = self._current()
        if request is None or request.principal is None:
            return JOB
        return "", request.principal.name, request.address

    def _who(self, question: Question) -> Association:
        """Who sends by DIMSE; everything is empty for who does not."""
        try:
            return self._associations.of(question.called, question.calling, question.address)
        except UnknownAETitle:
            return Association(question.called, question.calling, question.address)

    def _actor(self) -> str:
        request = self._current()
        return request.principal.name if request and request.principal else "unknown"

    def _address(self) -> str:
        request = self._current()
        return request.address if request else ""

    def _refused(self, error: GatewayError, question: Question | None, resource: str) -> None:
        """Log and audit a refusal, for the tenant that sent; the owner's name is not told."""
        if question is not None and is_uid(question.study_uid):
            resource = f"study {question.study_uid}"
        log.warning("refused %s: %s %s", resource, error.code, error.detail)
        if self._clock() - self._database_failed_at < _PAUSE_AFTER_FAILURE_S:
            return
        request = self._current()
        tenant_id = request.principal.tenant_id if request and request.principal else None
        who = self._who(question) if question else Association("", "")
        if question is not None and question.is_dimse:
            tenant_id = self._directory().called.get(who.called)
        record = audit.Record(
            actor=who.calling or self._actor(),
            action=Action.STORE_STUDY,
            resource=resource,
            verdict="denied",
            tenant_id=tenant_id,
            origin=who.address or self._address(),
            detail=f"{error.code} {error.detail}".strip(),
        )
        try:
            with self._database.system_session("audit refusal") as session:
                audit.append(session, record)
        except DatabaseUnavailable:
            self._database_failed_at = self._clock()
            log.error("the audit record of a refusal could not be written")
