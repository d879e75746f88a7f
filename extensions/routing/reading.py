"""Reading what is to be sent ahead, while what was read is being sent.

A series is asked for as a whole: of what one instance costs the archive most is to find it. What
does not come that way, or not in time, is asked for by itself.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter, OrderedDict
from collections.abc import Sequence
from contextlib import closing, suppress
from io import BytesIO
from types import TracebackType
from typing import Self

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag

from extensions.routing.ledger import Instance
from gateway.archive import Archive
from gateway.errors import GatewayError

AT_LEAST = 4  # instances of a series; fewer are asked for one by one
MOST_BYTES_AHEAD = 32 << 20
WAIT_S = 60.0

type _Item = tuple[str, bytes] | None


class ReadAhead:
    """The files of a delivery, asked for in the order in which they are sent."""

    def __init__(
        self, archive: Archive, study_uid: str, todo: Sequence[Instance], *, whole: bool
    ) -> None:
        """`whole`: most of the study is to be sent, so reading all of a series is no waste."""
        self._archive, self._study_uid = archive, study_uid
        counts = Counter(instance.series_instance_uid for instance in todo)
        self._wanted = {uid for uid, count in counts.items() if whole and count >= AT_LEAST}
        self._todo = {instance.sop_instance_uid for instance in todo}
        self._reader: _Reader | None = None
        self._aside: OrderedDict[str, bytes] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def file_of(self, instance: Instance) -> bytes:
        """One instance as it was received; raises as `Archive.file_of` does."""
        series_uid, uid = instance.series_instance_uid, instance.sop_instance_uid
        if series_uid in self._wanted:
            self._wanted.discard(series_uid)
            self._stop()
            self._reader = _Reader(self._archive, self._study_uid, series_uid)
        found = self._from_series(uid, series_uid)
        return found or self._archive.file_of(self._study_uid, series_uid, uid)

    def _from_series(self, uid: str, series_uid: str) -> bytes | None:
        if uid in self._aside:
            return self._aside.pop(uid)
        while self._reader and self._reader.series_uid == series_uid and not self._is_full():
            item = self._reader.next()
            if item is None:
                self._reader = None
            elif item[0] == uid:
                return item[1]
            elif item[0] in self._todo:  # its turn comes: the archive has another order
                self._aside[item[0]] = item[1]
        return None

    def _is_full(self) -> bool:
        return sum(map(len, self._aside.values())) > MOST_BYTES_AHEAD

    def _stop(self) -> None:
        if self._reader:
            self._reader.stop()
        self._reader = None
        self._aside.clear()


def _is_after_name(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return bool(tag > 0x00080018)  # (0008,0018) SOP Instance UID


class _Reader:
    """Reads a series in a thread, and no more ahead than it may."""

    def __init__(self, archive: Archive, study_uid: str, series_uid: str) -> None:
        self.series_uid = series_uid
        self._archive, self._study_uid = archive, study_uid
        self._items: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._room = threading.Condition()
        self._ahead = 0
        self._stopped = False
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> _Item:
        """A SOP Instance UID and its file; None: there are no more, for whatever reason."""
        try:
            item = self._items.get(timeout=WAIT_S)
        except queue.Empty:
            self.stop()
            return None
        with self._room:
            self._ahead -= len(item[1]) if item else 0
            self._room.notify()
        return item

    def stop(self) -> None:
        """Nobody wants the rest."""
        with self._room:
            self._stopped = True
            self._room.notify()

    def _read(self) -> None:
        # Whoever waits asks for what is missing by itself, and is told what is wrong.
        with (
            suppress(GatewayError, ValueError, InvalidDicomError, AttributeError),
            closing(self._archive.files_of_series(self._study_uid, self.series_uid)) as files,
        ):
            for file in files:
                uid = str(read_partial(BytesIO(file), stop_when=_is_after_name).SOPInstanceUID)
                with self._room:
                    self._room.wait_for(lambda: self._stopped or self._ahead < MOST_BYTES_AHEAD)
                    if self._stopped:
                        return
                    self._ahead += len(file)
                self._items.put((uid, file))
        self._items.put(None)
