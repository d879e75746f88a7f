"""The service host: ``python -m gateway.service``.

One process for each extension with a `service.py`, which listens, polls or watches until SIGTERM.
Each loads its own extension alone, so that one which breaks or hangs stops no other.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterable
from functools import partial

import redis

from gateway import logs, plugins
from gateway.context import ServiceContext
from gateway.db import Database
from gateway.errors import BrokenExtension
from gateway.plugins import Extension
from gateway.processes import Host
from gateway.runner import describe
from gateway.settings import Settings

log = logging.getLogger(__name__)

CONNECTIONS = 8
BEAT_S = 4.0
SILENT_S = 15  # without a sign of life for so long a service does not run
AGAIN_S = 5.0  # what broke is not started again at once


def serve(settings: Settings, extension: Extension) -> None:
    """Run the service of one extension until SIGTERM; raises what breaks it, after a pause."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    connection = redis.Redis.from_url(settings.redis_url, socket_timeout=5)
    with contextlib.closing(Database(settings.database_url, max_size=CONNECTIONS)) as database:
        try:
            service = plugins.load("service", [extension]).hook
            beat = threading.Thread(target=_beat, args=(connection, extension.name, stop))
            beat.daemon = True
            beat.start()
            logger = logging.getLogger(f"extensions.{extension.name}")
            service.run(context=ServiceContext(settings, database, logger), stop=stop)
            if not stop.is_set():
                raise BrokenExtension(f"The service of {extension.name!r} ended by itself.")
        except Exception as error:
            log.error(
                "service failed", extra={"extension": extension.name, "error": describe(error)}
            )
            stop.wait(AGAIN_S)
            raise


def silent(connection: redis.Redis, extensions: Iterable[Extension]) -> list[str]:
    """Which extensions have a service that gives no sign of life."""
    names = [extension.name for extension in extensions if "service" in extension.hosts]
    return [name for name in names if not connection.exists(_key(name))]


def _beat(connection: redis.Redis, name: str, stop: threading.Event) -> None:
    while not stop.is_set():
        with contextlib.suppress(redis.RedisError):
            connection.set(_key(name), 1, ex=SILENT_S)
        stop.wait(BEAT_S)


def _key(name: str) -> str:
    return f"argonath:service:{name}"


def main() -> None:
    """Start a process for each service; without any, there is nothing to do."""
    settings = Settings.load()
    logs.configure(settings.log_level)
    found = [e for e in plugins.discover(settings.blocked_extensions) if "service" in e.hosts]
    log.info("service host starts", extra={"services": [extension.name for extension in found]})
    roles: list[Callable[[], None]] = [partial(serve, settings, extension) for extension in found]
    if roles:
        Host(roles).run()


if __name__ == "__main__":
    main()
