"""Reading what is to be sent ahead, while what was read is being sent.

A series is asked for as a whole: of what one instance costs the archive most is to find it. It
comes in the archive's own order, which is another than ours, so what comes early waits on a shelf.
What has not come when its turn is there is asked for by itself.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, suppress
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Self

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag

from extensions.routing.ledger import Instance
from extensions.routing.shelf import Shelf
from gateway.archive import Archive
from gateway.errors import GatewayError

AT_LEAST = 4  # instances of a series; fewer are asked for one by one


class ReadAhead:
    """The files of a delivery, in the order in which they are asked for."""

    def __init__(
        self,
        archive: Archive,
        study_uid: str,
        todo: Sequence[Instance],
        *,
        whole: bool,
        spool: Path,
    ) -> None:
        """`whole`: most of the study is to be sent, so reading all of a series is no waste.

        `spool`: a folder for what does not fit into memory.
        """
        self._archive, self._study_uid, self._spool = archive, study_uid, spool
        counts = Counter(instance.series_instance_uid for instance in todo)
        self._wanted = {uid for uid, count in counts.items() if whole and count >= AT_LEAST}
        self._todo = todo
        self._shelf: Shelf | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._clear()

    def file_of(self, instance: Instance) -> bytes:
        """One instance as it was received; raises as `Archive.file_of` does."""
        series_uid, uid = instance.series_instance_uid, instance.sop_instance_uid
        if series_uid in self._wanted:
            self._wanted.discard(series_uid)
            self._clear()
            self._begin(series_uid)
        found = self._shelf.take(uid) if self._shelf else None
        return found or self._archive.file_of(self._study_uid, series_uid, uid)

    def _begin(self, series_uid: str) -> None:
        wanted = {i.sop_instance_uid for i in self._todo if i.series_instance_uid == series_uid}
        self._shelf = Shelf(wanted, self._spool)
        threading.Thread(target=self._fill, args=(self._shelf, series_uid), daemon=True).start()

    def _fill(self, shelf: Shelf, series_uid: str) -> None:
        # Whoever waits asks for what is missing by itself, and is told what is wrong.
        with (
            suppress(GatewayError, ValueError, InvalidDicomError, AttributeError, OSError),
            closing(self._archive.files_of_series(self._study_uid, series_uid)) as files,
        ):
            for file in files:
                uid = str(read_partial(BytesIO(file), stop_when=_is_after_name).SOPInstanceUID)
                if not shelf.put(uid, file):
                    return

    def _clear(self) -> None:
        if self._shelf:
            self._shelf.close()
        self._shelf = None


def _is_after_name(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return bool(tag > 0x00080018)  # (0008,0018) SOP Instance UID
