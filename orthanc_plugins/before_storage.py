"""What extensions make of an instance before it is stored (`NodeHooks.transform_instance`).

All on one native thread: `received` has the file but by DIMSE not the sender, admission has the
sender but not the file. So `received` transforms for who it takes to be the sender - by HTTP the
request's tenant, by DIMSE who sent on this thread before - and that stands only if `settle`, which
is told the sender, finds that it was this one. Else it gives admission the file that is to be
stored in place of the one that Orthanc has.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from gateway.arriving import Sender, Transform
from gateway.db import Session
from gateway.errors import DatabaseUnavailable, GatewayError
from orthanc_plugins import missing_uids
from orthanc_plugins.access import Request
from orthanc_plugins.question import Question
from orthanc_plugins.sdk import Origin, Received

log = logging.getLogger(__name__)


class _From(NamedTuple):
    """A tenant and who sends for it; `connection` is how Orthanc names the sender by DIMSE."""

    tenant_id: str
    connection: tuple[str, str, str]
    sender: Sender


class _Arriving(NamedTuple):
    """A file as it was received, for whom it was transformed already, and what came of that."""

    file: bytes
    done_for: _From | None = None
    new: bytes | None = None
    error: GatewayError | None = None


class BeforeStorage:
    """The tenants' transforms in memory, and each thread's file from received to admitted."""

    def __init__(
        self,
        ask: Callable[[Session], Iterable[Mapping[str, Transform]]],
        current: Callable[[], Request | None],
    ) -> None:
        """`ask` is the hook, with an answer of each extension."""
        self._ask = ask
        self._current = current
        self._transforms: Mapping[str, tuple[Transform, ...]] = {}
        self._loading = threading.Lock()
        self._arriving: dict[int, _Arriving] = {}
        self._last: dict[int, _From] = {}
        self._instead: dict[int, Question] = {}
        self.known = False

    def load(self, session: Session) -> None:
        """Ask the extensions anew. When that fails, nothing is stored until it succeeds."""
        with self._loading:
            found: dict[str, tuple[Transform, ...]] = {}
            try:
                for answer in self._ask(session):
                    for tenant_id, transform in answer.items():
                        found[tenant_id] = (*found.get(tenant_id, ()), transform)
            except Exception:
                self.known = False
                raise
            self._transforms = found
            self.known = True

    # On the path of each instance ---------------------------------------------------------------

    def received(self, dicom: bytes, origin: int) -> tuple[int, bytes | None]:
        """Orthanc's Received callback."""
        answer = missing_uids.received(dicom, origin)
        if not self._transforms and not self._arriving:
            return answer
        thread = threading.get_native_id()
        self._arriving.pop(thread, None)
        if answer[0] != Received.KEEP_AS_IS:
            return answer
        is_dimse = origin == Origin.DICOM_PROTOCOL
        expected = self._last.get(thread) if is_dimse else self._by_http()
        if expected is None and not is_dimse:
            return answer
        self._arriving[thread] = arriving = self._tried(dicom, expected)
        return answer if arriving.new is None else (Received.MODIFY, arriving.new)

    def stands(self, thread: int, tenant_id: str, question: Question) -> bool:
        """Whether what Orthanc has is what is to be stored, as far as that is quickly told."""
        arriving = self._arriving.get(thread)
        if arriving is None or arriving.error or not self.known:
            return arriving is None and self.known
        done_for = arriving.done_for
        if done_for is None:
            stands = tenant_id not in self._transforms
        else:
            stands = done_for[:2] == (tenant_id, _connection(question))
        if stands:
            del self._arriving[thread]
        return stands

    def settle(
        self, thread: int, tenant_id: str, question: Question, sender: Sender
    ) -> bytes | None:
        """The file to store in place of what Orthanc has; None: that one.

        Raises `DatabaseUnavailable` while the transforms are not known, and what they raise.
        """
        arriving = self._arriving.pop(thread, None)
        if not self.known:
            raise DatabaseUnavailable("What changes instances before storage is not known.")
        if arriving is None:
            return None
        who = _From(tenant_id, _connection(question), sender)
        if question.is_dimse:
            self._last.pop(thread, None)
            if tenant_id in self._transforms:
                self._last[thread] = who
        done_for = arriving.done_for
        if done_for is None or done_for[:2] != who[:2]:
            new = self._apply(who, arriving.file)
            # What was made of it for somebody else must not stay.
            return arriving.file if new is None and arriving.new is not None else new
        if arriving.error is not None:
            raise arriving.error
        return None

    @contextmanager
    def instead(self, thread: int, question: Question) -> Iterator[None]:
        """Within it, what is received on this thread is what `settle` gave, from this sender."""
        self._instead[thread] = question
        try:
            yield
        finally:
            del self._instead[thread]

    def is_instead(self, thread: int) -> bool:
        """Whether the thread stores such a file."""
        return thread in self._instead

    def asked(self, thread: int, question: Question) -> Question:
        """The question, with the sender of the file in whose place this one is stored."""
        first = self._instead.get(thread)
        return question if first is None else question.sent_as(first)

    def _by_http(self) -> _From | None:
        """Who sends by HTTP on this thread, if something is to be changed."""
        request = self._current()
        tenant_id = request.principal.tenant_id if request and request.principal else None
        if request is None or tenant_id is None or tenant_id not in self._transforms:
            return None
        return _From(tenant_id, _BY_HTTP, Sender(address=request.address))

    def _tried(self, file: bytes, expected: _From | None) -> _Arriving:
        if expected is None:
            return _Arriving(file)
        try:
            return _Arriving(file, expected, self._apply(expected, file))
        except GatewayError as error:
            return _Arriving(file, expected, None, error)
        except Exception as error:  # noqa: BLE001 - Orthanc would store the object as it is
            log.error("a transform before storage failed: %s", type(error).__name__)
            return _Arriving(file, expected, None, GatewayError("A transform failed."))

    def _apply(self, who: _From, file: bytes) -> bytes | None:
        new = None
        for transform in self._transforms.get(who.tenant_id, ()):
            new = transform(new or file, who.sender) or new
        return new


_BY_HTTP = ("", "", "")


def _connection(question: Question) -> tuple[str, str, str]:
    if not question.is_dimse:
        return _BY_HTTP
    return question.called, question.calling, question.address
