"""A worker host in processes of its own, which a test may kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from gateway.settings import Settings

CHECKOUT = Path(__file__).parents[2]


class WorkerHost:
    """`python -m gateway.worker`, with the settings of a test."""

    def __init__(self, settings: Settings, *folders: Path) -> None:
        environ = {
            "ARGONATH_DATABASE_URL": settings.database_url,
            "ARGONATH_REDIS_URL": settings.redis_url,
            "ARGONATH_ORTHANC_URL": settings.orthanc_url,
            "ARGONATH_INTERNAL_TOKEN": settings.internal_token,
            "ARGONATH_ENCRYPTION_KEY": settings.encryption_key,
            "ARGONATH_RETRY_DELAY_S": str(settings.retry_delay_s),
            "PYTHONPATH": ":".join([str(CHECKOUT), *map(str, folders)]),
        }
        self.log = settings.data / "worker.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway.worker"],
                env=os.environ | environ,
                stderr=log,
                stdout=log,
                start_new_session=True,
            )

    def close(self) -> None:
        self.kill()

    def kill(self) -> None:
        """End it and its children as the out-of-memory killer does."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)

    def stop(self) -> float:
        """Ask it to end; how many seconds that took."""
        began = time.monotonic()
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(15)
        return time.monotonic() - began


def until[T](probe: Callable[[], T], seconds: float = 20) -> T:
    """The first truthy answer of `probe`; fails when there is none in time."""
    end = time.monotonic() + seconds
    while True:
        is_last = time.monotonic() > end  # asked before we look: so we always look once more
        if answer := probe():
            return answer
        assert not is_last, f"nothing after {seconds} s"
        time.sleep(0.02)
