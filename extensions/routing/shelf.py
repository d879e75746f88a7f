"""Files that wait to be taken: as many in memory as may be, the others in a file without a name."""

from __future__ import annotations

import os
import threading
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

MOST_IN_MEMORY = 32 << 20
MOST_ON_DISK = 1 << 30


@dataclass(frozen=True)
class _Place:
    start: int
    length: int


class Shelf:
    """For one thread that puts files by UID and one that takes each of the `wanted` once."""

    def __init__(self, wanted: AbstractSet[str], folder: Path) -> None:
        self._wanted, self._folder = set(wanted), folder
        self._changed = threading.Condition()
        self._files: dict[str, bytes | _Place] = {}
        self._in_memory = self._on_disk = 0
        self._spool: IO[bytes] | None = None
        self._closed = False

    def put(self, uid: str, file: bytes) -> bool:
        """Keep a file that is still wanted; waits for room. False: nobody takes any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._has_room(len(file)))
            if self._closed:
                return False
            if uid in self._wanted:
                self._files[uid] = self._kept(file)
            return True

    def take(self, uid: str) -> bytes | None:
        """The file, if it is here; what was asked for is not kept any more, nor when it comes."""
        with self._changed:
            self._wanted.discard(uid)
            found = self._files.pop(uid, None)
            if isinstance(found, _Place):
                assert self._spool is not None
                return os.pread(self._spool.fileno(), found.length, found.start)
            if found is not None:
                self._in_memory -= len(found)
                self._changed.notify()
            return found

    def close(self) -> None:
        """Nobody wants the rest."""
        with self._changed:
            self._closed = True
            self._files.clear()
            if self._spool:
                self._spool.close()
            self._changed.notify()

    def _has_room(self, size: int) -> bool:
        return self._fits(size) or self._on_disk + size <= MOST_ON_DISK

    def _fits(self, size: int) -> bool:
        return self._in_memory == 0 or self._in_memory + size <= MOST_IN_MEMORY

    def _kept(self, file: bytes) -> bytes | _Place:
        if self._fits(len(file)):
            self._in_memory += len(file)
            return file
        if self._spool is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._spool = TemporaryFile(dir=self._folder)  # noqa: SIM115  until `close`
        place = _Place(self._on_disk, len(file))
        self._on_disk += os.pwrite(self._spool.fileno(), file, place.start)
        if self._on_disk != place.start + place.length:
            raise OSError("The disk is full.")
        return place
