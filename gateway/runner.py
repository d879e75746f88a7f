"""Running one job: claim it, call the extension, write down what became of it."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any

from pluggy import PluginManager

from gateway import events, jobs
from gateway.actions import Actions
from gateway.archive import Archive
from gateway.context import TaskContext
from gateway.db import Database
from gateway.errors import ArchiveUnavailable, BrokenExtension, DatabaseUnavailable, GatewayError
from gateway.jobs import Job
from gateway.settings import Settings

log = logging.getLogger(__name__)

HEARTBEAT_S = 10.0
GRACE_S = 15.0  # between RQ's exception at the time limit, and our ending the process


class Runner:
    """Runs jobs of the loaded extensions."""

    def __init__(self, settings: Settings, database: Database, manager: PluginManager) -> None:
        self._settings = settings
        self._database = database
        self._manager = manager
        self._actions = Actions.of(manager)

    def run(self, job_id: int) -> None:
        """Run the job if it is due. Its failure is written down, not raised."""
        with self._database.system_session("claim job") as session:
            job = jobs.claim(session, job_id)
        if job is None:
            return
        started = time.monotonic()
        outcome = "done"
        try:
            with self._heartbeat(job):
                self._call(job)
            self._settle(job, None)
        except Exception as error:  # noqa: BLE001  an extension may raise anything
            outcome = self._settle(job, error)
        except BaseException as error:  # this process is told to end
            self._settle(job, jobs.Postpone(0.0, f"{type(error).__name__} ended the worker."))
            raise
        finally:
            seconds = round(time.monotonic() - started, 3)
            log.info("job ran", extra={**_fields(job), "outcome": outcome, "seconds": seconds})

    def _call(self, job: Job) -> None:
        if job.attempts > job.max_attempts:  # it ended its worker each time
            raise BrokenExtension(f"Job {job.job_id} has used up its attempts.")
        module = self._manager.get_plugin(job.extension)
        if module is None:
            raise BrokenExtension(f"Extension {job.extension!r} is not loaded.")
        with Archive(
            self._settings.orthanc_url, self._settings.internal_token, job.tenant_id
        ) as archive:
            context = TaskContext(
                job.tenant_id,
                self._settings,
                self._database,
                archive,
                logging.getLogger(f"extensions.{job.extension}"),
                self._actions,
            )
            if job.task in events.KINDS:
                self._tell(job, context)
            else:
                jobs.task_named(module, job.task)(context, **job.arguments)

    def _tell(self, job: Job, context: TaskContext) -> None:
        given: dict[str, Any] = {
            "event": events.from_row(job.task, job.arguments),
            "context": context,
        }
        for hook in getattr(self._manager.hook, job.task).get_hookimpls():
            if hook.plugin_name == job.extension:
                hook.function(*(given[name] for name in hook.argnames))

    def _settle(self, job: Job, error: Exception | None) -> str:
        """Write down what became of the job; a database that restarts is waited for."""
        end = time.monotonic() + jobs.LEASE_S
        while True:
            try:
                return self._write(job, error)
            except DatabaseUnavailable:
                if time.monotonic() > end:
                    return "lost"  # its lease ends, and it runs again
                time.sleep(0.5)

    def _write(self, job: Job, error: Exception | None) -> str:
        with self._database.system_session("finish job") as session:
            if error is None:
                return "done" if jobs.finish(session, job) else "lost"
            told = describe(error)
            if isinstance(error, jobs.Postpone):
                again = jobs.try_again(session, job, delay_s=error.delay_s, error=told, free=True)
                return "postponed" if again else "lost"
            log.warning("job failed", extra={**_fields(job), "error": told})
            permanent = isinstance(error, GatewayError) and error.permanent
            ours = isinstance(
                error, ArchiveUnavailable | DatabaseUnavailable
            )  # not the job's fault
            if permanent or (job.attempts >= job.max_attempts and not ours):
                return "failed" if jobs.give_up(session, job, told) else "lost"
            delay_s = jobs.backoff_s(self._settings.retry_delay_s, job.attempts)
            again = jobs.try_again(session, job, delay_s=delay_s, error=told, free=ours)
            return "retry" if again else "lost"

    @contextlib.contextmanager
    def _heartbeat(self, job: Job) -> Iterator[None]:
        """Renew the lease meanwhile, and end the process if the job cannot be stopped."""
        stop = threading.Event()
        thread = threading.Thread(target=self._beat, args=(job, stop), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()

    def _beat(self, job: Job, stop: threading.Event) -> None:
        end = time.monotonic() + job.time_limit_s + GRACE_S
        while not stop.wait(HEARTBEAT_S):
            if time.monotonic() > end:
                # RQ's exception does not reach a loop in C. Its lease ends, then it runs again.
                log.error("job is over its time limit, worker ends", extra=_fields(job))
                os._exit(70)
            try:
                with self._database.system_session("renew lease") as session:
                    ours = jobs.renew(session, job)
            except DatabaseUnavailable:
                continue
            if not ours and not stop.is_set():
                log.warning("job is not ours any more", extra=_fields(job))


def describe(error: Exception) -> str:
    """An error without what it may quote: our own say what they mean, others where they arose."""
    if isinstance(error, GatewayError):
        return f"{error.code}: {error.message}"
    frames = list(traceback.extract_tb(error.__traceback__))
    # Where an extension called a library tells more than where the library stumbled.
    frames = [f for f in frames if "site-packages" not in f.filename] or frames
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"


def _fields(job: Job) -> dict[str, object]:
    return {
        "job": job.job_id,
        "tenant": job.tenant_id,
        "extension": job.extension,
        "task": job.task,
        "attempt": job.attempts,
    }
