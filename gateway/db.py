"""PostgreSQL: sessions of one tenant, the named way out, and notifications.

Row-level security does the separating: the application's role owns no table, and a session
without a tenant sees zero rows.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from gateway.errors import DatabaseUnavailable

type Row = dict[str, Any]
type Session = psycopg.Connection[Row]

log = logging.getLogger(__name__)


class Database:
    """A pool of connections as the application's role."""

    def __init__(self, url: str, *, max_size: int = 8, timeout_s: float = 5.0) -> None:
        self.url = url
        self._pool: ConnectionPool[psycopg.Connection[Row]] = ConnectionPool(
            url,
            kwargs={"row_factory": dict_row, "autocommit": True},  # BEGIN comes with a session
            connection_class=psycopg.Connection[Row],
            min_size=0,
            max_size=max_size,
            timeout=timeout_s,
            open=True,
        )

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    @contextmanager
    def tenant_session(self, tenant_id: str) -> Iterator[Session]:
        """One transaction that sees one tenant's rows; commits unless an exception leaves it."""
        begin = sql.SQL("BEGIN; SELECT set_config('argonath.tenant', {}, true)")
        with self._session(begin.format(tenant_id)) as session:
            yield session

    @contextmanager
    def system_session(self, reason: str) -> Iterator[Session]:
        """One transaction across all tenants; `reason` says in the log of PostgreSQL why."""
        begin = sql.SQL(
            "BEGIN; SELECT set_config('role', 'argonath_system', true), "
            "set_config('application_name', {}, true)"
        )
        with self._session(begin.format(f"argonath: {reason}"[:63])) as session:
            yield session

    @contextmanager
    def _session(self, begin: sql.Composed) -> Iterator[Session]:
        """A transaction; `begin` opens it in one round trip."""
        try:
            session = self._begun(begin)
            try:
                with session:
                    yield session
            finally:
                self._pool.putconn(session)
        except psycopg.OperationalError as error:
            raise DatabaseUnavailable(type(error).__name__) from error

    def _begun(self, begin: sql.Composed) -> Session:
        """On the first connection that answers: those in the pool may all be of an old server."""
        dead = 0
        while True:
            session = self._pool.getconn()
            try:
                session.execute(begin)
            except BaseException as error:
                self._pool.putconn(session)
                dead += 1
                if not isinstance(error, psycopg.OperationalError) or dead > self._pool.max_size:
                    raise
            else:
                return session


def listen(
    url: str,
    channels: Sequence[str],
    heard: Callable[[str, str], None],
    *,
    connected: Callable[[], None] = lambda: None,
    stop: threading.Event | None = None,
) -> None:
    """Call ``heard(channel, payload)`` for each notification until `stop` is set.

    `connected` is called after each (re)connection: what was missed meanwhile is unknown, so the
    listener must forget what it caches.
    """
    stop = stop or threading.Event()
    while not stop.is_set():
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                for channel in channels:
                    connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                connected()
                while not stop.is_set():
                    for notice in connection.notifies(timeout=1.0):
                        heard(notice.channel, notice.payload)
        except psycopg.Error as error:
            log.warning("database listener lost its connection: %s", type(error).__name__)
            time.sleep(0.5)
