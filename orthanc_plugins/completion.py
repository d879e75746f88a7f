"""Durable completion: every study that was acknowledged becomes stable, whatever is killed.

Orthanc's own StableStudy is lost across a restart; the rows in PostgreSQL are not. One daemon
thread tells the database of progress and closes what is quiet.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway import audit, senders, studies
from gateway.db import Database
from gateway.errors import DatabaseUnavailable, ForeignStudy
from gateway.studies import Arrival
from gateway.tenancy import label_of
from orthanc_plugins.arrivals import Arrivals
from orthanc_plugins.sdk import Orthanc

log = logging.getLogger(__name__)

_TICK_S = 1.0
_EXPIRE_EVERY_S = 5.0


@dataclass(frozen=True)
class Contents:
    """What Orthanc holds of a study."""

    study_id: str
    patient_id: str
    series_ids: tuple[str, ...]
    modalities: tuple[str, ...]
    instances: int
    labels: frozenset[str]


class Completion:
    """The daemon thread: `start` it once Orthanc has started."""

    def __init__(
        self,
        orthanc: Orthanc,
        database: Database,
        arrivals: Arrivals,
        *,
        stable_after_s: float,
        claim_expires_s: float,
        unlabelled: Callable[[str], None],
        count_owed: Callable[[], None],
        beat: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._orthanc = orthanc
        self._database = database
        self._arrivals = arrivals
        self._stable_after_s = stable_after_s
        self._claim_expires_s = claim_expires_s
        self._unlabelled = unlabelled
        self._count_owed = count_owed
        self._beat = beat
        self._clock = clock
        self._deleted: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._reconciled = False
        self._expired_at = -_EXPIRE_EVERY_S
        self._born = clock()

    def start(self) -> None:
        """Begin; called when Orthanc's REST API answers."""
        self._thread = threading.Thread(target=self._run, name="argonath-completion", daemon=True)
        self._thread.start()

    def stop(self, *, wait_s: float = 0.0) -> None:
        """End after the present step, and wait for that at most `wait_s` seconds."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(wait_s)

    def deleted(self, study_id: str) -> None:
        """Orthanc says that a study is gone; looked at by the thread."""
        self._deleted.put(study_id)

    def _run(self) -> None:
        more = False
        while not self._stop.wait(0 if more else _TICK_S):
            self._beat()
            more = False
            try:
                more = self.step()
            except DatabaseUnavailable:
                log.warning("completion waits for the database")
            except Exception:
                log.exception("completion failed; it goes on")

    def step(self) -> bool:
        """What is due now; True: there is more of it than one step does."""
        self._count_owed()
        self.flush()
        self._forget_deleted()
        if not self._reconciled:
            self.reconcile()
            self._reconciled = True
        with self._database.system_session("quiet studies") as session:
            quiet = studies.quiet(session, seconds=self._stable_after_s)
        for uid, study_id, arrival in quiet:
            self._complete(uid, study_id, arrival)
        if self._clock() - self._expired_at >= _EXPIRE_EVERY_S:
            self._expired_at = self._clock()
            self._expire_claims(self._claim_expires_s)
        return len(quiet) == studies.MOST_QUIET

    def flush(self) -> None:
        """Tell the database what was counted; counted again when it does not hear."""
        progress = self._arrivals.take_progress()
        if not progress:
            return
        try:
            with self._database.system_session("progress") as session:
                studies.record_progress(session, progress)
        except Exception:
            self._arrivals.restore(progress)
            raise

    def _complete(self, uid: str, study_id: str, arrival: int) -> None:
        if not self._arrivals.close_if_idle(uid):
            return
        contents = self._contents(uid)
        if not contents:
            log.info("study %s is not in the archive any more", uid)
            with self._database.system_session("study is gone") as session:
                studies.forget(session, study_id)
            return
        self._relabel(uid, contents)
        with self._database.system_session("study stable") as session:
            stable = studies.mark_stable(
                session,
                uid,
                arrival,
                quiet_s=self._stable_after_s,
                modalities=sorted({m for c in contents for m in c.modalities}),
                series_count=sum(len(c.series_ids) for c in contents),
                instance_count=sum(c.instances for c in contents),
            )
        if stable:
            log.info("study %s is stable, arrival %s", uid, arrival)

    def reconcile(self) -> None:
        """After a start: what happened while nobody listened, or was cut off by a kill."""
        held: dict[str, list[Contents]] = {}
        for study in self._find({"Level": "Study", "Query": {}, "ResponseContent": _STUDY}):
            uid = study.get("MainDicomTags", {}).get("StudyInstanceUID", "")
            held.setdefault(uid, []).append(_read(study))
        with self._database.system_session("reconcile") as session:
            rows = session.execute(
                "SELECT study_instance_uid, tenant_id, orthanc_id, state FROM study"
            ).fetchall()
        owners = {row["study_instance_uid"]: row["tenant_id"] for row in rows}
        for uid, contents in held.items():
            if uid not in owners:
                log.warning("study %s has no owner; nobody sees it", uid)
            elif any(label_of(owners[uid]) not in c.labels for c in contents):
                self._relabel(uid, contents)
        for row in rows:
            if row["study_instance_uid"] not in held and row["state"] == "stable":
                self._forget(row["study_instance_uid"], row["orthanc_id"])
        # A claim of before the start has no instance on its way any more: no need to wait.
        self._expire_claims(self._clock() - self._born)

    def _expire_claims(self, seconds: float) -> None:
        with self._database.system_session("expired claims") as session:
            expired = studies.expired_claims(session, seconds=seconds)
        for uid, _ in expired:
            contents = self._contents(uid)
            if contents:
                self._relabel(uid, contents)
            with self._database.system_session("expired claim") as session:
                if contents:
                    studies.mark_receiving(session, uid)
                else:
                    session.execute(
                        "DELETE FROM study WHERE study_instance_uid = %s AND state = 'claimed' "
                        "AND last_received_at < now() - make_interval(secs => %s)",
                        [uid, seconds],
                    )
                    self._arrivals.evict(uid)

    def _forget_deleted(self) -> None:
        while not self._deleted.empty():
            study_id = self._deleted.get()
            self._unlabelled(study_id)
            with self._database.system_session("study deleted") as session:
                rows = session.execute(
                    "SELECT study_instance_uid FROM study WHERE orthanc_id = %s", [study_id]
                ).fetchall()
            for row in rows:
                self._forget(row["study_instance_uid"], study_id)

    def _forget(self, uid: str, study_id: str) -> None:
        """Free the UID of a study that is gone; if it has come back meanwhile, keep its owner."""
        if self._contents(uid):
            return
        with self._database.system_session("study is gone") as session:
            row = studies.find(session, uid)
            studies.forget(session, study_id)
        self._arrivals.evict(uid)
        contents = self._contents(uid)
        if not contents or row is None:
            return
        try:
            with self._database.system_session("study came back") as session:
                arrival = Arrival(
                    uid,
                    contents[0].patient_id,
                    source=row["source"],
                    sender=senders.of_row(row),
                )
                studies.claim(session, row["tenant_id"], arrival)
                studies.mark_receiving(session, uid)
        except ForeignStudy:
            log.error("study %s came back while it was deleted, and has another owner", uid)
            with self._database.system_session("conflict") as session:
                audit.append(
                    session,
                    audit.Record("argonath", "store-study", f"study {uid}", "failed", None),
                )

    def _contents(self, uid: str) -> list[Contents]:
        """What the archive holds of a StudyInstanceUID (several, if its PatientID differs)."""
        found = self._find(
            {
                "Level": "Study",
                "Query": {"StudyInstanceUID": uid},
                "CaseSensitive": True,
                "ResponseContent": _STUDY,
            }
        )
        contents = []
        for study in found:
            series = self._find(
                {
                    "Level": "Series",
                    "Query": {},
                    "ParentStudy": study["ID"],
                    "ResponseContent": ["MainDicomTags", "Children"],
                }
            )
            contents.append(
                _read(
                    study,
                    modalities=tuple(
                        s.get("MainDicomTags", {}).get("Modality", "") for s in series
                    ),
                    instances=sum(len(s.get("Instances", [])) for s in series),
                )
            )
        return contents

    def _relabel(self, uid: str, contents: list[Contents]) -> None:
        """Labels that a kill, or a deletion at the wrong moment, has prevented."""
        with self._database.system_session("owner of study") as session:
            row = studies.find(session, uid)
        if row is None:
            return
        label = label_of(row["tenant_id"])
        for content in contents:
            self._orthanc.RestApiPut(f"/studies/{content.study_id}/labels/{label}", b"")
            for series_id in content.series_ids:
                self._orthanc.RestApiPut(f"/series/{series_id}/labels/{label}", b"")

    def _find(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(
            self._orthanc.RestApiPost("/tools/find", json.dumps(request))
        )
        return found


_STUDY = ["MainDicomTags", "Children", "Labels"]


def _read(
    study: dict[str, Any], *, modalities: tuple[str, ...] = (), instances: int = 0
) -> Contents:
    return Contents(
        study_id=study["ID"],
        patient_id=study.get("PatientMainDicomTags", {}).get("PatientID", ""),
        series_ids=tuple(study.get("Series", [])),
        modalities=tuple(m for m in modalities if m),
        instances=instances,
        labels=frozenset(study.get("Labels", [])),
    )


__all__ = ["Completion", "Contents"]
