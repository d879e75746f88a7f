"""The AE titles that Orthanc itself knows: where C-MOVE delivers, and who may send it N-ACTIONs.

Orthanc hangs up on an N-ACTION or N-EVENT-REPORT unless it knows the calling AE title, and unless
every place that it knows under that title may send one. It tells two tenants' modalities of one
title not apart, so knowing is all that this is for: who may do what is decided by `callers.py`. A
report it keeps in memory; whom it concerns is decided by who waits for that transaction.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import threading

from gateway.tenancy import CallingAE, Directory
from orthanc_plugins.sdk import Orthanc

log = logging.getLogger(__name__)

# Orthanc's own default for a modality allows C-GET, which no hook restricts.
_DENIED = ("Echo", "Find", "FindWorklist", "Get", "Move", "Store")
_ALLOWED = ("EventReport", "NAction")


class Modalities:
    """What was told to Orthanc, which keeps it in memory alone."""

    def __init__(self, orthanc: Orthanc) -> None:
        self._orthanc = orthanc
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._is_begun = False

    def begin(self, directory: Directory) -> None:
        """Orthanc can be told from now on."""
        self._is_begun = True
        self.follow(directory)

    def follow(self, directory: Directory) -> None:
        """Make Orthanc know every AE with host and port, and no other."""
        if not self._is_begun:
            return
        listed = {
            _alias(ae): ae
            for callers in directory.calling.values()
            for ae in callers
            if ae.host and ae.port
        }
        with self._lock:
            for alias in self._known - listed.keys():
                self._forget(alias)
            for alias in listed.keys() - self._known:
                try:
                    self._tell(alias, listed[alias])
                except self._orthanc.OrthancException:
                    log.error("Orthanc cannot be told of %s", listed[alias].ae_title)

    def alias_of(self, ae: CallingAE) -> str:
        """The name under which Orthanc knows an AE with host and port."""
        alias = _alias(ae)
        with self._lock:
            if alias not in self._known:
                self._tell(alias, ae)
        return alias

    def _tell(self, alias: str, ae: CallingAE) -> None:
        allowed = {f"Allow{name}": name in _ALLOWED for name in (*_DENIED, *_ALLOWED)}
        place = {"AET": ae.ae_title, "Host": ae.host, "Port": ae.port}
        self._orthanc.RestApiPut(f"/modalities/{alias}", json.dumps(place | allowed))
        self._known.add(alias)

    def _forget(self, alias: str) -> None:
        self._known.discard(alias)
        with contextlib.suppress(self._orthanc.OrthancException):
            self._orthanc.RestApiDelete(f"/modalities/{alias}")


def _alias(ae: CallingAE) -> str:
    place = f"{ae.ae_title}|{ae.host}|{ae.port}"
    return "ae-" + hashlib.sha256(place.encode()).hexdigest()[:32]
