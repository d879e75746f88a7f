"""The id that ties together what one request or operation leaves in audit, logs and errors.

nginx makes it for each HTTP request and tells it in ``X-Request-ID``, over whatever the client
said; for anything else it is made here. 32 hexadecimal digits.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager

HEADER = "X-Request-ID"
_ID = re.compile(r"[0-9a-f]{32}")
# By native thread: Python's own thread-local storage does not survive from one of Orthanc's
# callbacks to the next, and each request is served by one thread.
_current: dict[int, str] = {}


def new() -> str:
    """An id that nothing else has."""
    return secrets.token_hex(16)


def current() -> str:
    """The id of what this thread does; empty when nothing has begun."""
    return _current.get(threading.get_native_id(), "")


def begin(told: str | None) -> None:
    """This thread begins something new, with the id that nginx told or one of its own."""
    _current[threading.get_native_id()] = told if told and _ID.fullmatch(told) else new()


def end() -> None:
    """This thread does nothing in particular."""
    _current.pop(threading.get_native_id(), None)


@contextmanager
def operation() -> Iterator[str]:
    """One operation with an id of its own, e.g. a C-FIND or a command."""
    begin(None)
    try:
        yield current()
    finally:
        end()
