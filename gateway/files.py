"""Files of one study as they were received, from Orthanc's disk where that is seen here too.

The archive tells where they lie, some at a time and the next while these are read. To have each
sent costs Orthanc and us more than all that is done with it then.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from gateway.archive import Archive

AT_ONCE = 512

type Place = tuple[str, str]
"""SeriesInstanceUID and SOPInstanceUID."""
type Lying = tuple[str, int]
"""Orthanc's name of a file (the Orthanc Book, "Storage area"), and its bytes."""


class Files:
    """For one thread, to be closed; `archive` sends what is not found on `disk`."""

    def __init__(
        self, archive: Archive, disk: Path, study_uid: str, patient_id: str, order: Sequence[Place]
    ) -> None:
        """`order`: what will be wanted, probably. `disk`: Orthanc's folder, if it is here."""
        self._archive, self._study_uid, self._patient_id = archive, study_uid, patient_id
        self._disk: Path | None = disk if disk.is_dir() else None
        self._order = order
        self._number = {place: number for number, place in enumerate(order)}
        self._known: dict[Place, Lying | None] = {}
        self._asking = ThreadPoolExecutor(1)
        self._coming: dict[int, Future[dict[Place, Lying | None]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._asking.shutdown()

    def file_of(self, series_uid: str, instance_uid: str) -> bytes:
        """One instance; raises as `Archive.file_of` does."""
        found = self._from_disk((series_uid, instance_uid))
        return found or self._archive.file_of(self._study_uid, series_uid, instance_uid)

    def _from_disk(self, place: Place) -> bytes | None:
        if self._disk is None or place not in self._number:
            return None
        if place not in self._known:
            self._known = self._places_from(self._number[place])
        lying = self._known[place]
        if lying is None:
            return None
        name, size = lying
        try:
            # Unbuffered: for a small object, `read_bytes` asks the disk more than it reads.
            with self._disk.joinpath(name[:2], name[2:4], name).open("rb", buffering=0) as opened:
                file = opened.read(size + 1)
        except OSError:
            return None
        return file if len(file) == size else None

    def _places_from(self, number: int) -> dict[Place, Lying | None]:
        """Of what is wanted from this one on; those after them are asked for meanwhile."""
        coming = self._coming.pop(number, None)
        after = number + AT_ONCE
        found = coming.result() if coming else self._ask(self._order[number:after])
        if after < len(self._order):
            asked = self._asking.submit(self._ask, self._order[after : after + AT_ONCE])
            self._coming = {after: asked}
        return found

    def _ask(self, places: Sequence[Place]) -> dict[Place, Lying | None]:
        told = self._archive.places(self._study_uid, self._patient_id, places)
        return dict(zip(places, told, strict=True))
