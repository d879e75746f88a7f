"""One process for each role, forked from one parent and replaced when it ends.

The parent has neither threads nor connections, which a fork would tear.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

log = logging.getLogger(__name__)

FORCE_AFTER_S = 1.5  # the supervisor gives us 4 s
KILL_AFTER_S = 3.0


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
            log.error("process failed", extra={"error": type(error).__name__})
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
                log.warning("process ended", extra={"role": role, "status": status})
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
