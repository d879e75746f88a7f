"""From the outbox to jobs, and from due jobs to Redis.

Any number of dispatchers may run: rows that one has locked are skipped by the others. What Redis
loses is handed to it again.
"""

from __future__ import annotations

import logging
import threading
import time

import redis
from pluggy import PluginManager
from rq import Queue

from gateway import db, jobs, retention
from gateway.db import Database, Row, Session
from gateway.errors import DatabaseUnavailable
from gateway.settings import Settings

log = logging.getLogger(__name__)

CHANNELS = ("argonath_outbox", jobs.CHANNEL)
TICK_S = 1.0
SWEEP_S = 3600.0
HANDED_S = 5.0  # a message that a killed worker took with it is sent again after this
BATCH = 200


class Dispatcher:
    """Moves what is due; `run` does so until told to stop."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        connection: redis.Redis,
        manager: PluginManager,
    ) -> None:
        self._settings = settings
        self._database = database
        self._redis = connection
        self._manager = manager
        self._wake = threading.Event()
        self._sweep_at = 0.0

    def run(self, stop: threading.Event) -> None:
        """Work on each notification and each second. Lost servers are waited for."""
        listener = threading.Thread(
            target=db.listen,
            args=(self._database.url, CHANNELS, lambda *_: self._wake.set()),
            kwargs={"connected": self._wake.set, "stop": stop},
            daemon=True,
        )
        listener.start()
        was_well = True
        while not stop.is_set():
            try:
                self.step()
                was_well = True
            except (DatabaseUnavailable, redis.RedisError) as error:
                if was_well:
                    log.warning("dispatcher waits", extra={"error": type(error).__name__})
                was_well = False
                stop.wait(0.2)
            except Exception as error:  # noqa: BLE001  what comes next may go well
                log.error("dispatcher failed", extra={"error": type(error).__name__})
                stop.wait(TICK_S)
            self._wake.wait(TICK_S)
            self._wake.clear()

    def step(self) -> None:
        """Do all that is due now."""
        while self._fan_out() == BATCH:
            pass
        self._recover()
        while self._hand_over() == BATCH:
            pass
        if time.monotonic() >= self._sweep_at:
            self._sweep()

    def _fan_out(self) -> int:
        """Outbox rows become one job for each extension that listens."""
        with self._database.system_session("dispatch events") as session:
            events = session.execute(
                "SELECT event_id, tenant_id, kind, payload FROM outbox WHERE dispatched_at IS NULL "
                "ORDER BY event_id LIMIT %s FOR UPDATE SKIP LOCKED",
                [BATCH],
            ).fetchall()
            for event in events:
                off = _switched_off(session, event["tenant_id"])
                for extension in self._listeners(event["kind"]) - off:
                    jobs.enqueue(
                        session,
                        tenant_id=event["tenant_id"],
                        extension=extension,
                        task=event["kind"],
                        arguments=event["payload"],
                        study_uid=event["payload"].get("study_instance_uid"),
                        unique_key=f"{event['event_id']}:{extension}",
                    )
            if events:
                session.execute(
                    "UPDATE outbox SET dispatched_at = now() WHERE event_id = ANY(%s)",
                    [[event["event_id"] for event in events]],
                )
            return len(events)

    def _listeners(self, kind: str) -> set[str]:
        hook = getattr(self._manager.hook, kind, None)
        return {impl.plugin_name for impl in hook.get_hookimpls()} if hook else set()

    def _recover(self) -> None:
        """Running jobs whose worker was lost wait again."""
        with self._database.system_session("recover jobs") as session:
            for row in session.execute(
                "UPDATE job SET state = 'waiting', queued_until = NULL, lease_until = NULL "
                "WHERE state = 'running' AND lease_until < now() RETURNING job_id, attempts"
            ):
                log.warning("worker was lost, job runs again", extra=dict(row))

    def _sweep(self) -> None:
        """One batch of old rows; the next at the next tick, or in an hour if it was the last."""
        self._sweep_at = time.monotonic() + SWEEP_S
        with self._database.system_session("sweep") as session:
            gone = retention.sweep(session, self._settings)
        if any(gone.values()):
            log.info("old rows are gone", extra=gone)
        if max(gone.values()) == retention.BATCH:
            self._sweep_at = 0.0

    def _hand_over(self) -> int:
        """Due jobs go to Redis. If that fails, the rows stay as they were."""
        with self._database.system_session("hand jobs over") as session:
            due = session.execute(
                """
                UPDATE job j SET queued_until = now() + make_interval(secs => %s)
                FROM (SELECT job_id, queued_until FROM job
                      WHERE state = 'waiting' AND run_at <= now()
                        AND (queued_until IS NULL OR queued_until < now())
                      ORDER BY run_at LIMIT %s FOR UPDATE SKIP LOCKED) AS old
                WHERE j.job_id = old.job_id
                RETURNING j.job_id, j.queue, j.time_limit_s, j.attempts,
                          old.queued_until IS NOT NULL AS again
                """,
                [HANDED_S, BATCH],
            ).fetchall()
            queued = self._still_queued({row["queue"] for row in due if row["again"]})
            for row in sorted(due, key=lambda row: int(row["job_id"])):
                name = f"{row['job_id']}-{row['attempts']}"
                if name not in queued:
                    self._push(row, name)
            return len(due)

    def _still_queued(self, queues: set[str]) -> set[str]:
        """What waits in Redis behind others, and needs no second copy."""
        return {
            name for queue in queues for name in Queue(queue, connection=self._redis).get_job_ids()
        }

    def _push(self, row: Row, name: str) -> None:
        Queue(row["queue"], connection=self._redis).enqueue(
            "gateway.worker.run_job",
            row["job_id"],
            job_id=name,
            job_timeout=row["time_limit_s"],
            result_ttl=0,
            failure_ttl=60,
            description="",
        )


def _switched_off(session: Session, tenant_id: str) -> set[str]:
    rows = session.execute(
        "SELECT extension FROM extension_setting WHERE tenant_id = %s AND NOT enabled", [tenant_id]
    )
    return {row["extension"] for row in rows}
