"""The worker host: ``python -m gateway.worker [QUEUE...]``.

One parent that has loaded the extensions, and children forked from it: one dispatcher and some RQ
workers that run jobs in their own process (RQ's SimpleWorker: imports, connections and a model in
memory are kept from job to job). Several, so that one hanging job does not stop the others. The
parent has neither threads nor connections, which a fork would tear, and replaces what ends.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

import redis
from pluggy import PluginManager
from rq import SimpleWorker

from gateway import correlation, logs, plugins
from gateway.db import Database
from gateway.dispatcher import Dispatcher
from gateway.runner import Runner
from gateway.settings import Settings

log = logging.getLogger(__name__)

WORKERS = 3
JOBS_PER_CHILD = 2000
FORCE_AFTER_S = 1.5  # the supervisor gives us 4 s
KILL_AFTER_S = 3.0

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


class Host:
    """Keeps one process running for each role."""

    def __init__(self, roles: Sequence[Callable[[], None]]) -> None:
        self._roles = roles
        self._children: dict[int, int] = {}
        self._stopping = False

    def run(self) -> None:
        """Until SIGTERM or SIGINT; then stop all children, in the end by force."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        while not self._stopping:
            for role in set(range(len(self._roles))) - set(self._children.values()):
                self._children[self._fork(role)] = role
            self._reap(1.0)
        self._end()

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _fork(self, role: int) -> int:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._be(role, parent)
        return pid

    def _be(self, role: int, parent: int) -> NoReturn:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent decides
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
        status = 0
        try:
            self._roles[role]()
        except SystemExit:
            pass
        except BaseException as error:  # noqa: BLE001  nothing is above but the parent's loop
            log.error("worker process failed", extra={"error": type(error).__name__})
            status = 1
        logging.shutdown()
        os._exit(status)

    def _reap(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and self._children and not self._stopping:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                time.sleep(0.1)
                continue
            role = self._children.pop(pid, None)
            if status != 0:
                log.warning("worker process ended", extra={"role": role, "status": status})
                time.sleep(0.5)

    def _end(self) -> None:
        began = time.monotonic()
        plan = [
            (0.0, signal.SIGTERM),
            (FORCE_AFTER_S, signal.SIGTERM),
            (KILL_AFTER_S, signal.SIGKILL),
        ]
        while self._children:
            if plan and time.monotonic() - began >= plan[0][0]:
                _, number = plan.pop(0)
                for pid in self._children:
                    os.kill(pid, number)
            pid, _ = os.waitpid(-1, os.WNOHANG)
            self._children.pop(pid, None)
            time.sleep(0.05)


def _end_with(parent: int) -> None:
    """A child whose parent was killed finishes its job and ends."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)


def main(arguments: Sequence[str]) -> None:
    """Start the host for the named queues (default: ``default``)."""
    settings = Settings.load()
    logs.configure(settings.log_level)
    for name in ("rq.worker", "rq.job", "rq.queue"):
        logging.getLogger(name).setLevel(logging.WARNING)
    manager = plugins.load("worker", plugins.discover(settings.blocked_extensions))
    queues = list(arguments) or ["default"]
    roles: list[Callable[[], None]] = [lambda: dispatch(settings, manager)]
    roles += [lambda: work(settings, manager, queues)] * WORKERS
    log.info("worker host starts", extra={"queues": queues, "workers": WORKERS})
    Host(roles).run()


if __name__ == "__main__":
    # RQ imports `gateway.worker`: the module that runs must be that one, or it has no runner.
    from gateway.worker import main as start

    start(sys.argv[1:])
