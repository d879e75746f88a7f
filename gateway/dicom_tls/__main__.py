"""The process of the TLS port: settings, TLS context, the directory kept true, the audit."""

from __future__ import annotations

import logging
import socket
import ssl
import sys
import threading
import time
from urllib.parse import urlsplit

from gateway import audit, db
from gateway.db import Database
from gateway.dicom_tls.associations import Association, Associations
from gateway.dicom_tls.port import TLSPort
from gateway.errors import DatabaseUnavailable, GatewayError, InvalidSettings
from gateway.settings import Settings
from gateway.tenancy import Directory

log = logging.getLogger("gateway.dicom_tls")

# TLS 1.2 and 1.3 with forward secrecy and authenticated encryption alone: RFC 9325 (BCP 195), to
# which the profiles of PS3.15 sections B.9 and B.12 refer. Those of TLS 1.3 are OpenSSL's own.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
_STRANGERS_EVERY_S = 60.0
_STRANGERS_AT_MOST = 10_000


def context_of(settings: Settings) -> ssl.SSLContext:
    """TLS that lets in who shows a certificate of our authorities; raises `InvalidSettings`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.verify_mode = ssl.CERT_REQUIRED
    # A session that is resumed would bring a certificate that nobody verifies again.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    try:
        context.load_verify_locations(settings.dicom_tls_ca)
    except OSError as error:  # ssl.SSLError is one too
        raise InvalidSettings(f"ARGONATH_DICOM_TLS_CA: {settings.dicom_tls_ca}: {error}") from error
    try:
        context.load_cert_chain(settings.dicom_tls_cert, settings.dicom_tls_key)
    except OSError as error:
        raise InvalidSettings(
            f"ARGONATH_DICOM_TLS_CERT {settings.dicom_tls_cert}, "
            f"ARGONATH_DICOM_TLS_KEY {settings.dicom_tls_key}: {error}"
        ) from error
    return context


class KnownDirectory:
    """The directory of AE titles, read again whenever the database tells of a change."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._database = database
        self._url = settings.database_url
        self._now = Directory()
        self._read()

    def __call__(self) -> Directory:
        return self._now

    def listen(self) -> None:
        """Hear of changes in a daemon thread."""
        threading.Thread(
            target=db.listen,
            args=(self._url, ("argonath_tenancy",), lambda *_: self._read_if_possible()),
            kwargs={"connected": self._read_if_possible},
            daemon=True,
        ).start()

    def _read(self) -> None:
        with self._database.system_session("directory") as session:
            self._now = Directory.load(session)

    def _read_if_possible(self) -> None:
        try:
            self._read()
        except GatewayError as error:
            log.error("the directory of AE titles could not be read: %s", error.code)


class Refusals:
    """The audit of who was refused; of strangers one record an address and minute."""

    def __init__(self, database: Database, directory: KnownDirectory) -> None:
        self._database = database
        self._directory = directory
        self._strangers: dict[str, float] = {}

    def __call__(self, association: Association, why: str) -> None:
        """Log and audit one."""
        log.warning("refused an association from %s: %s", association.address, why)
        if association.certificate is not None or self._is_due(association.address):
            self._write(association, why)

    def _is_due(self, address: str) -> bool:
        now = time.monotonic()
        if now - self._strangers.get(address, -_STRANGERS_EVERY_S) < _STRANGERS_EVERY_S:
            return False
        if len(self._strangers) >= _STRANGERS_AT_MOST:
            self._strangers.clear()
        self._strangers[address] = now
        return True

    def _write(self, association: Association, why: str) -> None:
        shown = association.certificate
        record = audit.Record(
            actor=association.calling or "unknown",
            action="associate",
            resource=f"called {association.called}",
            verdict="denied",
            tenant_id=self._directory().called.get(association.called),
            origin=association.address,
            detail=f"{why}; {shown.evidence}" if shown else why,
        )
        try:
            with self._database.system_session("audit refusal") as session:
                audit.append(session, record)
        except DatabaseUnavailable:
            log.error("the audit record of a refusal could not be written")


def serve(settings: Settings, context: ssl.SSLContext, database: Database) -> None:
    """Serve until SIGTERM, which ends the process with its threads: nothing is kept here."""
    directory = KnownDirectory(settings, database)
    directory.listen()
    associations = Associations(settings.data)
    associations.clear()
    host = urlsplit(settings.orthanc_url).hostname or "127.0.0.1"
    port = TLSPort(
        context,
        (host, settings.dicom_port),
        directory,
        associations,
        Refusals(database, directory),
    )
    with socket.create_server(("", settings.dicom_tls_port), backlog=256) as listener:
        log.info("DICOM over TLS on port %s", settings.dicom_tls_port)
        port.serve(listener)


def main() -> int:
    """Run; 1 when the settings do not let it."""
    try:
        settings = Settings.load()
        logging.basicConfig(level=settings.log_level, format="%(levelname)s %(message)s")
        context = context_of(settings)
        serve(settings, context, Database(settings.database_url, max_size=2))
    except GatewayError as error:
        print(f"argonath: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
