"""`/health`: whether every part is ready. Public, so it names parts and kinds of error only."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta

import psycopg
import redis
import rq
import rq.worker
from flask import Blueprint
from flask.typing import ResponseReturnValue

from gateway import service
from gateway.archive import Archive
from gateway.errors import GatewayError
from gateway.migrate import migrations, pending
from gateway.needs import Needs, Open
from gateway.portal import PortalContext
from webapp import guard

pages = Blueprint("health", __name__)
PATIENCE_S = 2
SILENT_WORKER = timedelta(seconds=90)
READY = "ready"
type Check = Callable[[PortalContext], None]


class NotReady(GatewayError):
    """This part is not ready.

    It is restarted by itself; `argonath logs` says why if it stays so.
    """

    http_status = 503


@pages.get("/health")
@Needs(Open.TO_ALL)
def health() -> ResponseReturnValue:
    """200 when all parts are ready, else 503; the JSON names each part's state."""
    parts = state_of_parts(guard.context())
    ready = all(state == READY for state in parts.values())
    answer = {"status": READY if ready else "not ready", "parts": parts}
    return answer, 200 if ready else 503


def state_of_parts(context: PortalContext) -> dict[str, str]:
    """'ready', or what is the matter, of each part; all are asked at once."""
    pool = ThreadPoolExecutor(len(CHECKS))
    tasks = {name: pool.submit(_state, check, context) for name, check in CHECKS.items()}
    done, _ = wait(tasks.values(), timeout=PATIENCE_S + 1)
    pool.shutdown(wait=False, cancel_futures=True)
    return {n: t.result() if t in done else "does not answer" for n, t in tasks.items()}


def _state(check: Check, context: PortalContext) -> str:
    try:
        check(context)
    except NotReady as error:
        return error.detail
    except Exception as error:  # noqa: BLE001  whatever it is, the part is not ready
        return f"does not answer ({type(error).__name__})"
    return READY


def _database(context: PortalContext) -> None:
    with psycopg.connect(context.settings.database_url, connect_timeout=PATIENCE_S) as session:
        session.execute("SELECT 1")


def _schema(context: PortalContext) -> None:
    if missing := pending(context.settings.database_url, migrations(context.extensions)):
        raise NotReady(f"waits for the migration {missing[0]}")


def _redis(context: PortalContext) -> redis.Redis:
    client = redis.Redis.from_url(
        context.settings.redis_url, socket_timeout=PATIENCE_S, socket_connect_timeout=PATIENCE_S
    )
    client.ping()
    return client


def _archive(context: PortalContext) -> None:
    settings = context.settings
    with Archive(
        settings.orthanc_url, settings.internal_token, None, timeout_s=PATIENCE_S
    ) as archive:
        archive.raw("/system")


def _worker(context: PortalContext) -> None:
    if not any(_lives(worker) for worker in rq.Worker.all(connection=_redis(context))):
        raise NotReady("no worker gave a sign of life")


def _services(context: PortalContext) -> None:
    if names := service.silent(_redis(context), context.extensions):
        raise NotReady(f"no sign of life: {', '.join(names)}")


def _lives(worker: rq.worker.BaseWorker) -> bool:
    """A busy worker says nothing until its job ends; RQ forgets it when the job's time is over."""
    if worker.get_state() == "busy":
        return True
    beat = worker.last_heartbeat
    return beat is not None and datetime.now(UTC) - _aware(beat) < SILENT_WORKER


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _redis_check(context: PortalContext) -> None:
    _redis(context)


CHECKS: dict[str, Check] = {
    "database": _database,
    "schema": _schema,
    "redis": _redis_check,
    "archive": _archive,
    "worker": _worker,
    "services": _services,
}
