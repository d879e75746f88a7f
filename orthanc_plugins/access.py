"""The HTTP request filter: who is asking, what is this path, is it permitted to the role.

Whose a study is gets decided in `search.py`, where the resource is known. Orthanc answers 403
with an empty body to everything that is refused here; nginx and the portal explain it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from gateway import access, identity, routes
from gateway.access import Action
from gateway.archive import TENANT_HEADER
from gateway.errors import NotAuthenticated
from gateway.identity import Principal
from orthanc_plugins.sdk import Method

log = logging.getLogger(__name__)

READY_PATH = "/argonath/ready"
_TENANT_HEADER = TENANT_HEADER.lower()
_CACHE_SIZE = 10_000
_REFUSED_FOR_S = 5.0
_TRUSTED_FOR_S = 300.0


@dataclass(frozen=True)
class Request:
    """The HTTP request that a native thread is serving."""

    path: str
    principal: Principal | None
    address: str = ""


@dataclass(frozen=True)
class _Known:
    principal: Principal | None
    until: float


class Principals:
    """Principals by token, cached; told of revocations by `forget`."""

    def __init__(
        self,
        authenticate: Callable[[str], Principal],
        internal_token: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._authenticate = authenticate
        self._internal_token = internal_token
        self._clock = clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._lock = threading.Lock()
        self._generation = 0

    def forget(self) -> None:
        """Believe nothing of what was known: a credential has changed, or may have."""
        with self._lock:
            self._known.clear()
            self._generation += 1

    def of(self, headers: Mapping[str, str]) -> Principal | None:
        """Who sent a request with these headers (names in lower case), or None."""
        token = routes.token_of(headers.get("authorization", ""), headers.get("cookie", ""))
        if not token:
            return None
        if identity.is_internal(token, self._internal_token):
            return identity.service_principal(headers.get(_TENANT_HEADER) or None)
        key = identity.hash_token(token)
        now = self._clock()
        with self._lock:
            known = self._known.get(key)
            generation = self._generation
        if known is None or known.until <= now:
            known = self._ask(token, now)
            with self._lock:
                # What was asked before a revocation must not be remembered after it.
                if generation == self._generation:
                    self._known[key] = known
                    self._known.move_to_end(key)
                    while len(self._known) > _CACHE_SIZE:
                        self._known.popitem(last=False)
        principal = known.principal
        if principal is not None and principal.expires_at is not None:
            return principal if principal.expires_at > datetime.now(UTC) else None
        return principal

    def _ask(self, token: str, now: float) -> _Known:
        try:
            return _Known(self._authenticate(token), now + _TRUSTED_FOR_S)
        except NotAuthenticated:
            return _Known(None, now + _REFUSED_FOR_S)


class RequestFilter:
    """Decides on every HTTP request and remembers, by native thread, what it decided about.

    Received, admission, OnStored and the DICOMweb plugin's /tools/find of one request run on the
    thread of its filter; Python's own thread-local storage does not survive between callbacks.
    """

    def __init__(self, principals: Principals, refused: Callable[[Request, str], None]) -> None:
        self._principals = principals
        self._refused = refused
        self._current: dict[int, Request] = {}

    def current(self) -> Request | None:
        """The request that this native thread serves; None on threads of DIMSE and of jobs."""
        return self._current.get(threading.get_native_id())

    def __call__(self, uri: str, method: int, ip: str, headers: dict[str, str], **_: Any) -> bool:
        """Orthanc's IncomingHttpRequestFilter. An exception refuses."""
        thread = threading.get_native_id()
        try:
            self._current[thread] = Request(uri, None, ip)
            principal = self._principals.of(headers)
            request = self._current[thread] = Request(uri, principal, address_of(headers, ip))
            if self._permits(request, method):
                return True
            if principal is not None and method != Method.GET:
                self._refused(request, name_of(method))
        except Exception:
            log.exception("request filter failed; the request is refused")
        return False

    def _permits(self, request: Request, method: int) -> bool:
        path, principal = request.path, request.principal
        if principal is None or is_private(path):
            return False
        if path == READY_PATH:
            return access.is_system(principal)
        action = routes.action_of(name_of(method), path)
        if action is Action.RAW_ARCHIVE and principal.tenant_id is not None:
            return False
        return access.permits(principal, action)


def is_private(path: str) -> bool:
    """Whether a path, however it is written, is one of our own that only Orthanc's Lua may call."""
    return "argonath" in unquote(unquote(path)).casefold() and path != READY_PATH


def name_of(method: int) -> str:
    """The HTTP method as a word; what Orthanc does not name is refused under this name."""
    try:
        return Method(method).name
    except ValueError:
        return "UNKNOWN"


def address_of(headers: Mapping[str, str], peer: str) -> str:
    """The client's address, which only our own proxy on this machine may tell."""
    if peer in ("127.0.0.1", "::1"):
        return headers.get("x-real-ip", peer)
    return peer
