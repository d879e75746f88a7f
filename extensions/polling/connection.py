"""Whether a source can be asked: named checks, for an admin who has just typed it in."""

from __future__ import annotations

import os
import time
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from extensions.polling import inbox
from extensions.polling.errors import Interrupted
from extensions.polling.polling import connect, counted, wanted_of
from extensions.polling.source_settings import DicomwebSource, DimseSource, Polled
from extensions.polling.sources import Source, open_settings
from gateway.errors import GatewayError
from gateway.reaching import TIMEOUT_S, Check, reach

LONGEST_S = 15.0


def test_connection(source: Source, encryption_key: str, data: Path) -> list[Check]:
    """Reach the host, then search as a run does; stops at what fails."""
    settings = open_settings(source, encryption_key)
    if isinstance(settings, DicomwebSource):
        parts = urlsplit(settings.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        reached = reach(parts.hostname or "", port)
    elif isinstance(settings, DimseSource):
        reached = reach(settings.host, settings.port)
    else:
        return [_folder(inbox.folder_of(data, source.tenant_id))]
    return [reached, _search(settings)] if reached.passed else [reached]


def _search(settings: DicomwebSource | DimseSource) -> Check:
    kind = "QIDO-RS" if isinstance(settings, DicomwebSource) else "C-FIND"
    name = f"Search of studies by {kind}, with the filter"
    end = time.monotonic() + LONGEST_S
    quick: Polled = settings.model_copy(update={"timeout_s": int(TIMEOUT_S)})
    try:
        remote = connect(quick, lambda: time.monotonic() > end)
        try:
            found = remote.search(wanted_of(settings, datetime.now(settings.zone)))
        finally:
            remote.close()
    except Interrupted:
        return Check(name, True, f"It answers, but is not done after {LONGEST_S:.0f} s.")
    except GatewayError as error:
        return Check(name, False, str(error))
    told = f"{counted(len(found.studies), 'study', 'studies')} would be looked at now."
    if isinstance(settings, DimseSource):
        told += f" That it can send to {settings.deliver_to} shows at the first retrieval."
    return Check(name, True, told)


def _folder(folder: Path) -> Check:
    name = f"Folder inbox/{folder.name}"
    may = os.access(folder, os.R_OK | os.W_OK | os.X_OK)
    cure = "The user that runs the gateway must be allowed to read, write and remove there."
    return Check(name, may, "It can be read and emptied." if may else cure)
