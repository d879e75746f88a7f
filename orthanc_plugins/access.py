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

from gateway import access, bearer, correlation, identity, routes
from gateway.access import Action
from gateway.archive import TENANT_HEADER
from gateway.errors import GatewayError, NotAllowed, NotAuthenticated
from gateway.identity import Principal
from orthanc_plugins.lifeline import Storing
from orthanc_plugins.sdk import Method

log = logging.getLogger(__name__)

READY_PATH = "/argonath/ready"
_TENANT_HEADER = TENANT_HEADER.lower()
_CHOSEN_HEADER = bearer.TENANT_HEADER.lower()
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
        authenticate: Callable[[str, str], Principal],
        internal_token: str,
        visitor: Callable[[str], Principal] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._authenticate = authenticate
        self._internal_token = internal_token
        self._visitor = visitor
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
            return self.visitor(headers)
        if identity.is_internal(token, self._internal_token):
            return identity.service_principal(headers.get(_TENANT_HEADER) or None)
        chosen = headers.get(_CHOSEN_HEADER, "")
        return self._of_token(f"{token}\n{chosen}", lambda: self._authenticate(token, chosen))

    def visitor(self, headers: Mapping[str, str]) -> Principal | None:
        """Who came by a link, whoever else they are; or None."""
        token = routes.visit_of(headers.get("cookie", ""))
        visitor = self._visitor
        if not token or visitor is None:
            return None
        return self._of_token(f"{token}\nlink\n", lambda: visitor(token))

    def _of_token(self, name: str, ask: Callable[[], Principal]) -> Principal | None:
        key, now = identity.hash_token(name), self._clock()
        with self._lock:
            known = self._known.get(key)
            generation = self._generation
        if known is None or known.until <= now:
            known = _asked(ask, now)
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


def _asked(ask: Callable[[], Principal], now: float) -> _Known:
    try:
        return _Known(ask(), now + _TRUSTED_FOR_S)
    except (NotAuthenticated, NotAllowed):
        return _Known(None, now + _REFUSED_FOR_S)


class RequestFilter:
    """Decides on every HTTP request and remembers, by native thread, what it decided about.

    Received, admission, OnStored and the DICOMweb plugin's /tools/find of one request run on the
    thread of its filter; Python's own thread-local storage does not survive between callbacks.
    """

    def __init__(
        self,
        principals: Principals,
        refused: Callable[[Request, str], None],
        serves: Callable[[int, Storing | None], None],
        permitted: Callable[[Request, str], None] = lambda _request, _method: None,
    ) -> None:
        self._permitted = permitted
        self._principals = principals
        self._refused = refused
        self._serves = serves
        self._current: dict[int, Request] = {}
        self._lock = threading.Lock()
        self.unknown_routes = 0

    def current(self) -> Request | None:
        """The request that this native thread serves; None on threads of DIMSE and of jobs."""
        return self._current.get(threading.get_native_id())

    def __call__(self, uri: str, method: int, ip: str, headers: dict[str, str], **_: Any) -> bool:
        """Orthanc's IncomingHttpRequestFilter. An exception refuses."""
        thread = threading.get_native_id()
        try:
            correlation.begin(headers.get("x-request-id") if is_ours(ip) else None)
            self._current[thread] = Request(uri, None, ip)
            principal = self._principals.of(headers)
            request = self._current[thread] = Request(uri, principal, address_of(headers, ip))
            permitted = self._permits(request, method)
            self._serves(thread, storing(request, method) if permitted else None)
            if permitted:
                self._permitted(request, name_of(method))
                return True
            if principal is not None and method != Method.GET:
                self._refused(request, name_of(method))
        except GatewayError as error:
            log.warning("a request could not be judged and is refused: %s", error.code)
        except Exception:
            log.exception("request filter failed; the request is refused")
        return False

    def _permits(self, request: Request, method: int) -> bool:
        action = routes.action_of(name_of(method), request.path)
        if action is Action.UNKNOWN_ROUTE:
            with self._lock:
                self.unknown_routes += 1
        if request.principal is None or is_private(request.path):
            return False
        return access.permits(request.principal, action)


def is_private(path: str) -> bool:
    """Whether a path, however it is written, is one of our own that only Orthanc's Lua may call."""
    return "argonath" in unquote(unquote(path)).casefold() and path != READY_PATH


def storing(request: Request, method: int) -> Storing | None:
    """What to remember of a request that stores objects."""
    who = request.principal
    if method != Method.POST or who is None:
        return None
    if routes.action_of("POST", request.path) is not Action.STORE_STUDY:
        return None
    return Storing(who.name, who.tenant_id, request.address, request.path)


def name_of(method: int) -> str:
    """The HTTP method as a word; what Orthanc does not name is refused under this name."""
    try:
        return Method(method).name
    except ValueError:
        return "UNKNOWN"


def address_of(headers: Mapping[str, str], peer: str) -> str:
    """The client's address, which only our own proxy on this machine may tell."""
    return headers.get("x-real-ip", peer) if is_ours(peer) else peer


def is_ours(peer: str) -> bool:
    """Whether a request comes from this machine, as our own proxy's do."""
    return peer in ("127.0.0.1", "::1")
