"""What is shared with whom, as the node knows it: in memory, told of changes at once.

A read is let in or not without a look into the database; that it was, is told by a thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway import sharing
from gateway.db import Database
from gateway.errors import GatewayError
from gateway.identity import Role
from gateway.sharing import Share, Shares
from orthanc_plugins.access import Request

log = logging.getLogger(__name__)

_BEAT_S = 0.25
_PAUSE_AFTER_FAILURE_S = 1.0
_WAITING_AT_MOST = 10_000


@dataclass(frozen=True)
class _Use:
    """Somebody has used a share, or tried to; `refused` says why it was in vain."""

    share: Share
    who: str
    origin: str
    refused: str


class LiveShares:
    """The `Grants` of searches."""

    def __init__(
        self,
        database: Database,
        owner_of: Callable[[str], str | None],
        current: Callable[[], Request | None],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._owner_of = owner_of
        self._current = current
        self._now = now
        self._clock = clock
        self._shares = Shares()
        self._is_stale = False
        self._lock = threading.Lock()
        self._told: OrderedDict[_Use, float] = OrderedDict()
        self._waiting: deque[_Use] = deque()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread()

    def reload(self) -> None:
        """Read all shares anew. When that fails nothing is shared, and the error goes on."""
        try:
            with self._database.system_session("shares") as session:
                self._shares = Shares.load(session)
        except Exception:
            self._shares = Shares()  # what was revoked in between must not be read
            self._is_stale = True
            self._wake.set()
            raise
        self._is_stale = False

    def changed(self) -> None:
        """Reload, and try again later when that fails."""
        try:
            self.reload()
        except GatewayError as error:
            log.error("nothing is shared until the shares can be read: %s", error.code)

    # Any thread ---------------------------------------------------------------------------------

    def studies(self, tenant_id: str) -> Sequence[str]:
        """The studies that are shared with the tenant now."""
        now = self._now()
        return [
            uid
            for uid, share in self._shares.with_tenant(tenant_id).items()
            if not share.why_not(now) and self._owner_of(uid) == share.tenant_id
        ]

    def allow(self, tenant_id: str, study_uid: str) -> bool:
        """Whether the study is shared with the tenant now; notes the use, and the attempt."""
        share = self._shares.with_tenant(tenant_id).get(study_uid)
        if share is None or self._owner_of(study_uid) != share.tenant_id:
            return False
        refused = share.why_not(self._now())
        self._note(share, refused)
        return not refused

    def _note(self, share: Share, refused: str) -> None:
        request = self._current()
        who = request.principal if request else None
        if who is not None and who.role is Role.SERVICE:
            return  # our own processes read for somebody, and say so themselves
        name = who.name if who else f"DIMSE of {share.with_tenant_id}"
        use = _Use(share, name, request.address if request else "", refused)
        until = self._clock() + sharing.VISIT.total_seconds()
        with self._lock:
            if self._told.get(use, 0.0) > self._clock() or len(self._waiting) >= _WAITING_AT_MOST:
                return
            self._told[use] = until
            self._told.move_to_end(use)
            while len(self._told) > _WAITING_AT_MOST:
                self._told.popitem(last=False)
            self._waiting.append(use)
        self._wake.set()

    # The thread that tells ----------------------------------------------------------------------

    def start(self) -> None:
        """Begin to tell the database of views and of refusals."""
        self._thread = threading.Thread(target=self._work, name="argonath-shares", daemon=True)
        self._thread.start()

    def close(self, wait_s: float = 2.0) -> None:
        """End the thread and tell what waits."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(wait_s)
        try:
            self.tell()
        except GatewayError as error:
            log.error("%d uses of shares are not recorded: %s", len(self._waiting), error.code)

    def tell(self) -> None:
        """Write what waits; what could not be written goes on waiting."""
        while self._waiting:
            use = self._waiting[0]
            with self._database.system_session("use of a share") as session:
                if use.refused:
                    sharing.tell(
                        session,
                        use.share,
                        sharing.OPEN,
                        use.who,
                        use.origin,
                        verdict="denied",
                        detail=use.refused,
                    )
                else:
                    sharing.viewed(session, use.share, use.who, use.origin)
            self._waiting.popleft()

    def _work(self) -> None:
        while not self._stop.is_set():
            self._wake.wait()
            self._wake.clear()
            try:
                if self._is_stale:
                    self.reload()
                self.tell()
                self._stop.wait(_BEAT_S)
            except GatewayError as error:
                log.warning("shares, or what is told of them, wait: %s", error.code)
                self._stop.wait(_PAUSE_AFTER_FAILURE_S)
                self._wake.set()
            except Exception:
                log.exception("a use of a share could not be told")
                if self._waiting:
                    self._waiting.popleft()
                self._wake.set()
