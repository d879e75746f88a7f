"""Puts the parts of the node together, and keeps what they cache true."""

from __future__ import annotations

import json
import logging
import os
import platform
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from functools import partial
from typing import Any

from gateway import correlation, db, plugins, routes, share_links, studies
from gateway.audit import Record, append, append_all
from gateway.audit.chain import Anchor
from gateway.audit.reads import Reads
from gateway.bearer import Authenticator
from gateway.db import Database
from gateway.dicom_tls.associations import Associations
from gateway.errors import DatabaseUnavailable, GatewayError
from gateway.settings import Settings
from gateway.tenancy import Directory
from orthanc_plugins.access import READY_PATH, Principals, Request, RequestFilter
from orthanc_plugins.arrivals import Arrivals
from orthanc_plugins.before_storage import BeforeStorage
from orthanc_plugins.callers import Callers
from orthanc_plugins.commitment import EXTENSION, Commitment
from orthanc_plugins.completion import Completion
from orthanc_plugins.deletion import Deletion
from orthanc_plugins.dimse import Dimse
from orthanc_plugins.ingest import Ingest
from orthanc_plugins.lifeline import Lifeline, UncleanStop
from orthanc_plugins.modalities import Modalities
from orthanc_plugins.places import Places
from orthanc_plugins.reads import DimseAudit, ReadAudit, StudiesAt, Watch
from orthanc_plugins.sdk import Orthanc, RestOutput
from orthanc_plugins.search import FindOverride, Searcher
from orthanc_plugins.shares import LiveShares

log = logging.getLogger(__name__)

_CHANNELS = (
    "argonath_tenancy",
    "argonath_credential",
    "argonath_study",
    "argonath_share",
    "argonath_transform",
)
_WAIT_FOR_DATABASE_S = 30.0
_LAST_STEP_S = 2.0


class Node:
    """One Orthanc process as part of the gateway."""

    def __init__(self, orthanc: Orthanc, settings: Settings, database: Database) -> None:
        self._orthanc = orthanc
        self._settings = settings
        self._database = database
        self._directory = Directory()
        self._stop = threading.Event()
        self._listener = threading.Thread()
        self.arrivals = Arrivals()
        authenticate = Authenticator.of(settings, database)
        self.principals = Principals(
            authenticate, settings.internal_token, partial(share_links.visitor, database)
        )
        self._lifeline = Lifeline(settings.data / "node")
        self.request_filter = RequestFilter(
            self.principals,
            self._write_refused,
            self._lifeline.serves,
            self._note_raw,
        )
        associations = Associations(settings.data)
        hooks = plugins.load("node", plugins.discover(settings.blocked_extensions)).hook
        self.before_storage = BeforeStorage(
            lambda session: hooks.transform_instance(session=session), self.request_filter.current
        )
        self.ingest = Ingest(
            orthanc,
            database,
            self.arrivals,
            lambda: self._directory,
            self.request_filter.current,
            self._lifeline,
            associations,
            self.before_storage,
            claim_is_fresh_s=min(settings.stable_after_s, settings.claim_expires_s) / 2,
        )
        self.shares = LiveShares(database, self.ingest.owner_of, self.request_filter.current)
        searcher = Searcher(
            lambda request: orthanc.RestApiPost("/tools/find", request),
            self.ingest.owner_of,
            self.ingest.look_up,
            self.shares,
        )
        self.reads = Reads(self._write_reads)
        self._watch = Watch(database, Anchor(settings.data / "audit/anchor.json"))
        self._noted = ReadAudit(
            self.reads,
            self.request_filter.current,
            self.arrivals.owner_of,
            self._write_reads,
            StudiesAt(orthanc),
        )
        self.find_override = FindOverride(
            searcher,
            self.principals.of,
            self._serves_dicomweb,
            self._noted.dicomweb,
            self.principals.visitor,
        )
        self._modalities = Modalities(orthanc)
        callers = Callers(database, lambda: self._directory, associations)
        self.dimse = Dimse(
            orthanc,
            callers,
            self._modalities,
            searcher,
            lambda: self._directory,
            DimseAudit(self.reads, self._write_reads),
        )
        self.commitment = Commitment(
            orthanc,
            database,
            callers,
            self.ingest.owner_of,
            is_blocked=EXTENSION in map(str.strip, settings.blocked_extensions.split(",")),
        )
        self.places = Places(orthanc, self.request_filter.current, self.ingest.owner_of)
        self.deletion = Deletion(
            orthanc,
            database,
            self.request_filter.current,
            lambda session, uid: hooks.study_unfinished(session=session, study_uid=uid),
        )
        self.completion = Completion(
            orthanc,
            database,
            self.arrivals,
            stable_after_s=settings.stable_after_s,
            claim_expires_s=settings.claim_expires_s,
            unlabelled=self.ingest.unlabelled,
            count_owed=self.ingest.count_owed,
            beat=self._lifeline.beat,
        )

    def begin(self) -> None:
        """Audit how the node before ended, if nobody announced it; then live."""
        found = self._lifeline.unclean_stop()
        if found is not None:
            with self._database.system_session("unclean stop") as session:
                for record in records_of(found):
                    append(session, record)
        self._lifeline.begin()

    # What is cached, and how it stays true ------------------------------------------------------

    def reload(self) -> None:
        """Read everything that is cached anew; what changed while nobody listened is unknown."""
        self.principals.forget()
        self.shares.reload()
        with self._database.system_session("caches of the node") as session:
            self._directory = Directory.load(session, plain=self._settings.dicom_plain)
            owners = studies.owners(session)
        self.arrivals.reset(owners)
        self._load_transforms()

    def _load_transforms(self) -> None:
        """When that fails, admission refuses what comes and tries again."""
        try:
            with self._database.system_session("transforms before storage") as session:
                self.before_storage.load(session)
        except GatewayError as error:
            log.error("what changes instances before storage is not known: %s", error.code)
        except Exception:
            log.exception("what changes instances before storage is not known")

    def listen(self) -> None:
        """Hear of changes until `stop`, in a daemon thread."""
        self._listener = threading.Thread(
            target=db.listen,
            args=(self._settings.database_url, _CHANNELS, self._heard),
            kwargs={"connected": self._reconnected, "stop": self._stop},
            name="argonath-listener",
            daemon=True,
        )
        self._listener.start()
        self.reads.start(self._watch)
        self.shares.start()

    def close(self) -> None:
        """End every thread of ours: one that outlives the interpreter crashes Orthanc."""
        self._stop.set()
        self.completion.stop(wait_s=_LAST_STEP_S)
        self._listener.join(_LAST_STEP_S)
        self.reads.close(_LAST_STEP_S)
        self.shares.close(_LAST_STEP_S)
        self._database.close()
        self._lifeline.end()

    def _reconnected(self) -> None:
        # Before anything that can fail: a token that was revoked meanwhile must not be believed.
        self.principals.forget()
        try:
            self.reload()
            self._modalities.follow(self._directory)
        except GatewayError as error:
            log.warning("caches could not be read: %s", error.code)

    def _heard(self, channel: str, payload: str) -> None:
        if channel == "argonath_credential":
            self.principals.forget()
        elif channel == "argonath_study":
            self.arrivals.evict(payload)
        elif channel == "argonath_share":
            self.principals.forget()  # of links
            self.shares.changed()
        elif channel == "argonath_transform":
            self._load_transforms()
        else:
            try:
                with self._database.system_session("directory") as session:
                    self._directory = Directory.load(session, plain=self._settings.dicom_plain)
                self._modalities.follow(self._directory)
            except GatewayError as error:
                log.error("the directory of AE titles could not be read: %s", error.code)

    # Callbacks ----------------------------------------------------------------------------------

    def event(self, output: RestOutput, _uri: str, body: bytes = b"", **_: Any) -> None:
        """POST /argonath/event, from Lua alone: Orthanc's start, stop and deletions.

        A kill loses what was not told yet; completion looks for it at the next start.
        """
        output.AnswerBuffer("", "text/plain")
        what, _space, resource = body.decode().partition(" ")
        if what == "started":
            self._modalities.begin(self._directory)
            self.completion.start()
            threading.Thread(target=self._probe_decoding, daemon=True).start()
        elif what == "stopped":
            self.close()
        elif what == "deleted-study":
            self.completion.deleted(resource)
        elif what == "deleted-series":
            self.ingest.unlabelled(resource)

    def ready(
        self,
        output: RestOutput,
        _uri: str,
        get: dict[str, str] | None = None,
        **_: Any,
    ) -> None:
        """GET /argonath/ready, for our own processes: whether the node works, what it counted."""
        try:
            with self._database.system_session("ready") as session:
                session.execute("SELECT 1")
            database = True
        except DatabaseUnavailable:
            database = False
        answer = json.dumps(
            {
                "database": database,
                "probe": (get or {}).get("probe", ""),
                "unknown_routes": self.request_filter.unknown_routes,
            }
        )
        if database:
            output.AnswerBuffer(answer, "application/json")
        else:
            output.SendHttpStatus(503, answer)

    def _serves_dicomweb(self) -> bool:
        request = self.request_filter.current()
        return request is not None and request.path.startswith(("/dicom-web", "/wado"))

    def _probe_decoding(self) -> None:
        """Find out whether this build of Orthanc percent-decodes queries, to not do it twice."""
        request = urllib.request.Request(  # noqa: S310 - our own address
            f"{self._settings.orthanc_url}{READY_PATH}?probe=%41",
            headers={"Authorization": f"Bearer {self._settings.internal_token}"},
        )
        for _ in range(20):
            try:
                with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
                    self.find_override.decodes = json.load(answer)["probe"] != "A"
                log.info("query values are decoded by %s", self._decoder())
                return
            except (OSError, ValueError):
                time.sleep(0.5)
        log.error("whether Orthanc decodes queries is unknown; the gateway does it")

    def _decoder(self) -> str:
        return "the gateway" if self.find_override.decodes else "Orthanc"

    def _note_raw(self, request: Request, method: str) -> None:
        self._noted.raw(request, method)

    def _write_reads(self, records: Sequence[Record]) -> None:
        with self._database.system_session("audit of reads") as session:
            append_all(session, records)

    def _write_refused(self, request: Request, method: str) -> None:
        """An authenticated write that the policy refuses."""
        principal = request.principal
        assert principal is not None
        try:
            with self._database.system_session("audit refusal") as session:
                append(
                    session,
                    Record(
                        actor=principal.name,
                        action=routes.action_of(method, request.path),
                        resource=f"{method} {request.path}"[:200],
                        verdict="denied",
                        tenant_id=principal.tenant_id,
                        origin=request.address,
                        detail=f"role {principal.role}",
                    ),
                )
        except DatabaseUnavailable:
            log.error("the audit record of a refusal could not be written")


def records_of(stop: UncleanStop) -> list[Record]:
    """The audit of an unclean stop: one of the node, one for each tenant that was storing."""
    alive = f"Last known alive {stop.alive_at:%Y-%m-%dT%H:%M:%SZ}."
    action = "node.unclean-stop"
    return [
        Record(
            actor="argonath",
            action=action,
            resource=f"node {platform.node()}",
            verdict="failed",
            detail=f"{alive} STOW-RS requests about then: {len(stop.storing)}.",
        )
    ] + [
        Record(
            actor=request.actor,
            action=action,
            resource=f"POST {request.path}",
            verdict="failed",
            tenant_id=request.tenant_id,
            origin=request.origin,
            detail=f"{alive} Orthanc ended about this request; what was acknowledged is safe. "
            "Send the rest again, one object each if it ends again: one of them may be the cause.",
        )
        for request in stop.storing
    ]


class _OrthancLog(logging.Handler):
    """Our records into Orthanc's log."""

    def __init__(self, orthanc: Orthanc) -> None:
        super().__init__()
        self._orthanc = orthanc
        self.setFormatter(logging.Formatter("argonath %(name)s: %(message)s%(request)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record at Orthanc's nearest level."""
        identifier = correlation.current()
        record.request = f" [{identifier}]" if identifier else ""
        message = self.format(record)
        if record.levelno >= logging.ERROR:
            self._orthanc.LogError(message)
        else:
            # Orthanc shows its own INFO only with --verbose.
            self._orthanc.LogWarning(message)


def start(orthanc: Orthanc) -> Node:
    """Build the node; ends the process when settings or database do not let it work."""
    try:
        settings = Settings.load()
        logging.basicConfig(level=settings.log_level, handlers=[_OrthancLog(orthanc)], force=True)
        if not settings.internal_token:
            raise GatewayError("ARGONATH_INTERNAL_TOKEN is not set.")
        database = Database(settings.database_url)
        node = Node(orthanc, settings, database)
        _wait(node)
        node.begin()
    except Exception as error:  # noqa: BLE001 - whatever it is, it ends the process
        orthanc.LogError(f"argonath: the node does not start: {type(error).__name__}: {error}")
        # An Orthanc without its guards must not run: an exception here would only skip the plugin.
        sys.stderr.flush()
        os._exit(1)
    node.listen()
    return node


def _wait(node: Node) -> None:
    end = time.monotonic() + _WAIT_FOR_DATABASE_S
    while True:
        try:
            node.reload()
            return
        except DatabaseUnavailable:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)
