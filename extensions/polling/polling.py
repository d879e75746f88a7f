"""One run of a source: search it, look at what is new there, and retrieve what is missing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from extensions.polling import filters, memory, schedule
from extensions.polling.errors import Interrupted, SourceUnavailable
from extensions.polling.leases import Ended
from extensions.polling.news import Known, Seen, worth_a_look
from extensions.polling.remote import Remote, Retrieved
from extensions.polling.source_settings import DicomwebSource, DimseSource, Polled
from extensions.polling.sources import Source, open_settings, require_own_delivery
from extensions.polling.storing import Holdings
from gateway import audit
from gateway.context import ServiceContext
from gateway.errors import ArchiveUnavailable, DatabaseUnavailable, ForeignStudy, GatewayError

PATIENCE = 3  # studies in a row that fail, until it is the source's fault
_NOT_THE_STUDY = (SourceUnavailable, ArchiveUnavailable, DatabaseUnavailable, Interrupted)


@dataclass
class Run:
    """One run; `stop` ends it between two instances."""

    context: ServiceContext
    source: Source
    stop: threading.Event
    retrieved: int = 0
    instances: int = 0
    failed: int = 0
    _in_a_row: int = 0
    _last_begun: float = field(default=0.0)

    def __call__(self) -> Ended:
        """Do it; raises `SourceUnavailable` or what is wrong with the gateway itself."""
        settings = self.source.settings
        assert isinstance(settings, Polled)
        opened = open_settings(self.source, self.context.settings.encryption_key)
        found_all, listed = True, 0
        with self.context.database.tenant_session(self.source.tenant_id) as session:
            require_own_delivery(session, opened)  # an AE title may have changed hands
        if self._may_go_on(settings):
            remote = connect(opened, self.stop.is_set)
            try:
                found = remote.search(wanted_of(settings, datetime.now(settings.zone)))
                found_all, listed = found.is_whole, len(found.studies)
                self._look(remote, settings, found.studies)
            finally:
                remote.close()
        return Ended(self._told(listed, found_all), pause_s(settings, settings.interval_s))

    def _look(self, remote: Remote, settings: Polled, listed: Sequence[Seen]) -> None:
        with self.context.database.tenant_session(self.source.tenant_id) as session:
            uids = [study.study_instance_uid for study in listed]
            known = memory.known(session, self.source.source_id, uids)
        with self.context.archive(self.source.tenant_id) as archive:
            here = Holdings(self.source.tenant_id, archive, self.context.database)
            for study in worth_a_look(listed, known, datetime.now(UTC)):
                if not self._may_go_on(settings):
                    return
                uid = study.study_instance_uid
                try:
                    got = remote.retrieve(uid, here, lambda: self._begin(settings))
                except _NOT_THE_STUDY:
                    raise
                except GatewayError as error:
                    self._note_failure(study, known.get(uid), error)
                else:
                    self._note(study, got)

    def _begin(self, settings: Polled) -> None:
        """Wait until the next study may be retrieved."""
        if settings.studies_per_minute:
            wait = self._last_begun + 60.0 / settings.studies_per_minute - time.monotonic()
            if self._last_begun and wait > 0 and self.stop.wait(wait):
                raise Interrupted
        self._last_begun = time.monotonic()

    def _may_go_on(self, settings: Polled) -> bool:
        if self.stop.is_set():
            raise Interrupted
        hours = settings.hours
        return self.source.hurried or hours is None or hours.is_open(datetime.now(UTC))

    def _note(self, study: Seen, got: Retrieved) -> None:
        uid, self._in_a_row = study.study_instance_uid, 0
        # As the source counts, else what it hides would be news each time.
        instances = got.instances if study.instances is None else study.instances
        self.retrieved += got.brought > 0
        self.instances += got.brought
        with self.context.database.tenant_session(self.source.tenant_id) as session:
            memory.remember(session, self.source.source_id, uid, instances, brought=got.brought > 0)
            if got.brought:
                audit.append(session, record(self.source, uid, brought(got.brought)))

    def _note_failure(self, study: Seen, known: Known | None, error: GatewayError) -> None:
        self._in_a_row += 1
        self.failed += 1
        uid = study.study_instance_uid
        with self.context.database.tenant_session(self.source.tenant_id) as session:
            memory.fail(
                session,
                self.source.source_id,
                uid,
                study.instances or 0,
                str(error),
                failures=(known.failures if known else 0) + 1,
                permanent=isinstance(error, ForeignStudy),
            )
            audit.append(session, record(self.source, uid, error.code, verdict="failed"))
        if self._in_a_row >= PATIENCE:
            raise SourceUnavailable(f"{PATIENCE} studies in a row failed: {error.message}")

    def _told(self, listed: int, found_all: bool) -> str:
        told = [f"{counted(listed, 'study', 'studies')} listed", f"{self.retrieved} retrieved"]
        told += [counted(self.instances, "instance", "instances")] if self.instances else []
        told += [f"{self.failed} failed"] if self.failed else []
        told += ["there are more than can be listed: narrow the filter"] if not found_all else []
        return ", ".join(told) + "."


def connect(settings: object, should_stop: Callable[[], bool]) -> Remote:
    """The connection of a kind of source."""
    if isinstance(settings, DimseSource):
        from extensions.polling.dimse import DimseRemote

        return DimseRemote(settings, should_stop)
    assert isinstance(settings, DicomwebSource)
    from extensions.polling.dicomweb import DicomwebRemote

    return DicomwebRemote(settings, should_stop)


def record(
    source: Source, study: str, detail: str, *, verdict: audit.Verdict = "allowed"
) -> audit.Record:
    """What the audit says of a study that was, or could not be, retrieved."""
    return audit.Record(
        actor=f"source {source.name}",
        action="retrieve-study",
        resource=f"study {study}",
        verdict=verdict,
        tenant_id=source.tenant_id,
        origin=source.address,
        detail=detail,
    )


def counted(number: int, one: str, more: str) -> str:
    """The number with its noun."""
    return f"{number} {one if number == 1 else more}"


def brought(number: int) -> str:
    """What the audit says of a good retrieval."""
    return counted(number, "instance", "instances")


def pause_s(settings: object, wanted_s: float) -> float:
    """Seconds until the next run: as wanted, but not while the source's window is closed."""
    now = datetime.now(UTC)
    hours = settings.hours if isinstance(settings, Polled) else None
    return (schedule.next_run(hours, now, wanted_s) - now).total_seconds()


def wanted_of(settings: Polled, now: datetime) -> Mapping[str, str]:
    """What to search for: the filter, and the dates unless it names its own."""
    wanted = filters.parse(settings.filter)
    dates = schedule.study_dates(now.date(), settings.look_back_days)
    return ({"StudyDate": dates} if dates else {}) | wanted
