"""Runs what is due: a thread for each source, so many at once, few of one tenant."""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass

from extensions.polling import inbox, leases
from extensions.polling.errors import Interrupted
from extensions.polling.leases import Due, Ended
from extensions.polling.polling import Run, pause_s
from extensions.polling.sources import Source
from gateway import correlation
from gateway.context import ServiceContext
from gateway.errors import DatabaseUnavailable, GatewayError
from gateway.jobs import backoff_s
from gateway.runner import describe

MOST = 16
MOST_OF_TENANT = 4  # a tenant whose sources all hang leaves the rest to others
TICK_S = 1.0
SWEEP_S = 3600.0
_SETTLE_S = 20.0  # a database that restarts is waited for


@dataclass(frozen=True)
class _Running:
    source: Source
    stop: threading.Event
    thread: threading.Thread


class Poller:
    """The sources that this process runs."""

    def __init__(self, context: ServiceContext) -> None:
        self._context = context
        self._holder = uuid.uuid4().hex
        self._running: dict[int, _Running] = {}
        self._renew_at = 0.0
        self._sweep_at: dict[int, float] = {}

    def run(self, stop: threading.Event) -> None:
        """Until `stop`; then give back what is not finished."""
        while not stop.wait(TICK_S):
            try:
                self.step()
            except DatabaseUnavailable:
                self._context.log.warning("database does not answer")
        for running in self._running.values():
            running.stop.set()
        try:
            with self._context.database.system_session("release sources") as session:
                leases.release(session, list(self._running), self._holder)
        except DatabaseUnavailable:
            pass  # the leases end by themselves

    def step(self) -> None:
        """Forget what has ended, keep what runs, start what is due."""
        self._running = {n: r for n, r in self._running.items() if r.thread.is_alive()}
        self._renew()
        with self._context.database.system_session("due sources") as session:
            found = leases.due(session)
        of_tenant = Counter(running.source.tenant_id for running in self._running.values())
        for due in found:
            if len(self._running) >= MOST:
                return
            if of_tenant[due.tenant_id] >= MOST_OF_TENANT or due.source_id in self._running:
                continue
            if self._is_idle(due):
                continue
            if self._start(due):
                of_tenant[due.tenant_id] += 1

    def _is_idle(self, due: Due) -> bool:
        """Whether a folder has nothing to take; it runs now and then to remove what is old."""
        now = time.monotonic()
        if not due.is_folder or now > self._sweep_at.get(due.source_id, 0.0):
            self._sweep_at[due.source_id] = now + SWEEP_S
            return False
        return not inbox.has_work(inbox.folder_of(self._context.settings.data, due.tenant_id))

    def _renew(self) -> None:
        if time.monotonic() < self._renew_at:
            return
        self._renew_at = time.monotonic() + leases.RENEW_S
        with self._context.database.system_session("renew sources") as session:
            ours = leases.renew(session, self._holder)
        for source_id, running in self._running.items():
            if source_id not in ours:
                running.stop.set()

    def _start(self, due: Due) -> bool:
        with self._context.database.system_session("claim source") as session:
            source = leases.claim(session, due.source_id, self._holder)
        if source is None:
            return False
        stop = threading.Event()
        thread = threading.Thread(target=self._run, args=(source, stop), daemon=True)
        self._running[source.source_id] = _Running(source, stop, thread)
        thread.start()
        return True

    def _run(self, source: Source, stop: threading.Event) -> None:
        with correlation.operation():
            run = (
                inbox.Run(self._context, source, stop)
                if source.kind == "folder"
                else Run(self._context, source, stop)
            )
            ended: Ended | None = None
            try:
                ended = run()
            except Interrupted:
                self._log(source, "interrupted")
            except Exception as error:  # noqa: BLE001  one source costs no other anything
                told = str(error) if isinstance(error, GatewayError) else describe(error)
                pause = backoff_s(self._context.settings.retry_delay_s, source.failures + 1)
                ended = Ended("", pause_s(source.settings, pause), told)
                self._log(source, describe(error))
            self._finish(source, ended)

    def _finish(self, source: Source, ended: Ended | None) -> None:
        """Write down how it ended; None: it was interrupted, and is due as before."""
        end = time.monotonic() + _SETTLE_S
        while time.monotonic() < end:
            try:
                with self._context.database.system_session("source ran") as session:
                    if ended is None:
                        leases.release(session, [source.source_id], self._holder)
                    else:
                        leases.finish(session, source, self._holder, ended)
                return
            except DatabaseUnavailable:
                time.sleep(0.5)

    def _log(self, source: Source, what: str) -> None:
        self._context.log.warning(
            "source run failed",
            extra={"source": source.source_id, "tenant": source.tenant_id, "error": what},
        )
