"""The worker host: ``python -m gateway.worker [QUEUE...]``.

One parent that has loaded the extensions, and children forked from it: one dispatcher and some RQ
workers, for jobs and for deliveries, that run jobs in their own process (RQ's SimpleWorker:
imports, connections and a model in memory are kept from job to job). Several, so that one hanging
job does not stop the others. The parent has neither threads nor connections, which a fork would
tear, and replaces what ends.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import threading
from collections.abc import Callable, Sequence

import redis
from pluggy import PluginManager
from rq import SimpleWorker

from gateway import correlation, logs, plugins
from gateway.db import Database
from gateway.dispatcher import Dispatcher
from gateway.processes import Host
from gateway.runner import Runner
from gateway.settings import Settings

log = logging.getLogger(__name__)

WORKERS = 3
SENDERS = 5  # of the queue `deliver`: mostly waiting for others, and more than one place may take
JOBS_PER_CHILD = 2000

_runner: Runner | None = None


def run_job(job_id: int) -> None:
    """What RQ calls. A message for a job that is done, running or not due does nothing."""
    if _runner is None:
        raise RuntimeError("run_job works in a child of gateway.worker only.")
    with correlation.operation():
        _runner.run(job_id)


def work(settings: Settings, manager: PluginManager, queues: Sequence[str]) -> None:
    """Run jobs until SIGTERM. A second SIGTERM hands the present job back."""
    global _runner  # noqa: PLW0603  RQ calls a function by name; this is its way to the settings
    connection = redis.Redis.from_url(settings.redis_url)
    # A sign of life every 15 s, by which /health knows that somebody works.
    worker = SimpleWorker(list(queues), connection=connection, worker_ttl=30)
    worker.max_connection_wait_time = 2.0
    worker.log_job_description = False
    with contextlib.closing(Database(settings.database_url, max_size=4)) as database:
        _runner = Runner(settings, database, manager)
        worker.work(max_jobs=JOBS_PER_CHILD, logging_level="WARNING")


def dispatch(settings: Settings, manager: PluginManager) -> None:
    """Dispatch until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    connection = redis.Redis.from_url(settings.redis_url, socket_timeout=10)
    with contextlib.closing(Database(settings.database_url, max_size=2)) as database:
        Dispatcher(settings, database, connection, manager).run(stop)


def main(arguments: Sequence[str]) -> None:
    """Start the host for the named queues (default: ``urgent`` before ``default``, ``deliver``)."""
    settings = Settings.load()
    logs.configure(settings.log_level)
    for name in ("rq.worker", "rq.job", "rq.queue"):
        logging.getLogger(name).setLevel(logging.WARNING)
    manager = plugins.load("worker", plugins.discover(settings.blocked_extensions))
    queues = list(arguments) or ["urgent", "default"]
    roles: list[Callable[[], None]] = [lambda: dispatch(settings, manager)]
    roles += [lambda: work(settings, manager, queues)] * WORKERS
    if not arguments:
        roles += [lambda: work(settings, manager, ["deliver"])] * SENDERS
    log.info("worker host starts", extra={"queues": queues, "processes": len(roles)})
    Host(roles).run()


if __name__ == "__main__":
    # RQ imports `gateway.worker`: the module that runs must be that one, or it has no runner.
    from gateway.worker import main as start

    start(sys.argv[1:])
