"""What a node leaves behind for the next one, so that an end that nobody announced is noticed.

Some objects kill Orthanc before any hook sees them. A file says since when the node lives and, by
its time of change, until when; beside it lies one for each STOW-RS request that may be under way.
A clean stop removes them.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

_NAMED_S = 10.0
_NAMED_AT_REST_S = 1.5  # somewhat more than from one beat to the next


@dataclass(frozen=True)
class Storing:
    """A STOW-RS request: whose, and from where."""

    actor: str
    tenant_id: str | None
    origin: str
    path: str


@dataclass(frozen=True)
class UncleanStop:
    """How the node before this one ended: when it last lived, and what it was storing then."""

    alive_at: datetime
    storing: tuple[Storing, ...]


class Lifeline:
    """The files in `folder`. They inform: that one cannot be written stops nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._alive = folder / "alive"
        self._storing: set[int] = set()

    def unclean_stop(self) -> UncleanStop | None:
        """What the node before has left behind; call it before `begin`."""
        if not self._alive.exists():
            return None
        changed = {file: file.stat().st_mtime for file in self._folder.iterdir()}
        end = max(changed.values())
        # Nobody tells that a request was answered; its note goes when its thread serves the next.
        recent = (file for file, at in changed.items() if at > end - _NAMED_S)
        storing = (_read(file) for file in sorted(recent) if file != self._alive)
        return UncleanStop(
            datetime.fromtimestamp(end, UTC), tuple(request for request in storing if request)
        )

    def begin(self) -> None:
        """This node lives."""
        self.end()
        with suppress(OSError):
            self._folder.mkdir(parents=True, mode=0o700)
            self._alive.touch()

    def beat(self) -> None:
        """It still does; about once a second."""
        with suppress(OSError):
            os.utime(self._alive)

    def end(self) -> None:
        """A clean stop."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def serves(self, thread: int, storing: Storing | None) -> None:
        """A native thread of the HTTP server begins its next request; None: one that reads."""
        if storing is None and thread not in self._storing:
            return
        note = self._note(thread)
        with suppress(OSError):
            if storing is None:
                self._storing.discard(thread)
                note.unlink(missing_ok=True)
            else:
                self._storing.add(thread)
                note.write_text(json.dumps(asdict(storing)))

    def goes_on(self, thread: int) -> None:
        """The request that this thread serves has brought one more object."""
        self._date(thread, time.time())

    def rests(self, thread: int) -> None:
        """What it has brought so far is stored or refused: it may be over."""
        self._date(thread, time.time() - _NAMED_S + _NAMED_AT_REST_S)

    def _date(self, thread: int, at: float) -> None:
        if thread in self._storing:
            with suppress(OSError):
                os.utime(self._note(thread), (at, at))

    def _note(self, thread: int) -> Path:
        return self._folder / f"storing-{thread}"


def _read(file: Path) -> Storing | None:
    try:
        return Storing(**json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):
        return None  # the kill came while it was written
