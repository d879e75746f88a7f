"""A watched folder: `inbox/TENANT` of the data directory, whose files become studies.

A file is put aside only after the archive has acknowledged it. Whoever is killed before stores it
again under the same UIDs, which is no second object.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from extensions.polling import aside, secondary_capture, sidecar, watching
from extensions.polling.errors import Interrupted
from extensions.polling.leases import Ended
from extensions.polling.polling import brought, counted, record
from extensions.polling.sidecar import Complaint, Rejected
from extensions.polling.source_settings import FolderSource
from extensions.polling.sources import Source
from extensions.polling.storing import Holdings
from extensions.polling.watching import Item, has_work
from gateway import audit
from gateway.archive import NotStored
from gateway.context import ServiceContext
from gateway.errors import ForeignStudy

__all__ = ["Run", "folder_in_words", "folder_of", "has_work"]

PAUSE_S = 1.0
TRIES = 3  # of what the archive refuses without a reason that we know
MOST_BYTES = 1 << 30
_UNDEFINED, _HEADER = 0xFFFFFFFF, 8
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData", "PixelDataProviderURL")


def folder_of(data: Path, tenant_id: str) -> Path:
    """The folder of a tenant; made if it is missing."""
    folder = data / "inbox" / tenant_id
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def folder_in_words(tenant_id: str) -> str:
    """Where that is, for people who know the data directory."""
    return f"inbox/{tenant_id}"


@dataclass
class Run:
    """One look into the folder: all that is complete is stored, or rejected."""

    context: ServiceContext
    source: Source
    stop: threading.Event
    rejected: int = 0
    untouchable: int = 0
    stored: Counter[str] = field(default_factory=Counter)

    def __call__(self) -> Ended:
        """Do it; raises `Interrupted`, or what is wrong with the gateway itself."""
        settings = self.source.settings
        assert isinstance(settings, FolderSource)
        folder = folder_of(self.context.settings.data, self.source.tenant_id)
        try:
            with self.context.archive(self.source.tenant_id) as archive:
                here = Holdings(self.source.tenant_id, archive, self.context.database)
                while self._look(folder, here):
                    pass
        finally:
            self._audit()
        aside.sweep(folder, settings.keep_days, datetime.now(UTC).date())
        return Ended(self._told(), PAUSE_S, self._trouble())

    def _look(self, folder: Path, here: Holdings) -> bool:
        """Take what is complete; False: nothing could be taken."""
        self.untouchable = 0
        taken = [self._take(folder, item, here) for item in watching.items(folder)]
        return any(taken)

    def _take(self, folder: Path, item: Item, here: Holdings) -> bool:
        """Store it and put it aside; False: it has to stay."""
        if self.stop.is_set():
            raise Interrupted
        try:
            if aside.finish_move(folder, item):
                return True
            try:
                file, study = self._made(item)
                self._store(here, file, study)
            except Rejected as error:
                aside.reject(folder, item, error.complaints)
                self.rejected += 1
            else:
                aside.done(folder, item)
                self.stored[study] += 1
        except FileNotFoundError:
            return False  # somebody took it away
        except PermissionError:
            self.untouchable += 1
            return False
        return True

    def _made(self, item: Item) -> tuple[bytes, str]:
        """The DICOM file to store and its study."""
        if item.dicom is not None:
            content = _content(item.dicom)
            return content, study_of(content, item.dicom.name)
        image, told = _pair(item)
        said = sidecar.parse(_content(told), told.name)
        ds = secondary_capture.build(said, _content(image), self.source.tenant_id)
        return secondary_capture.as_file(ds), str(ds.StudyInstanceUID)

    def _store(self, here: Holdings, file: bytes, study: str) -> None:
        for attempt in range(1, TRIES + 1):
            try:
                here.store(file, study)
                return
            except ForeignStudy as error:
                raise Rejected(
                    Complaint("StudyInstanceUID", error.message, "Give it a new UID.")
                ) from None
            except NotStored as error:
                if attempt == TRIES:
                    raise Rejected(Complaint("archive", error.message, error.cure)) from None
            if self.stop.wait(2.0):
                raise Interrupted

    def _audit(self) -> None:
        if not self.stored:
            return
        records = [
            record(self.source, study, brought(number)) for study, number in self.stored.items()
        ]
        with self.context.database.tenant_session(self.source.tenant_id) as session:
            audit.append_all(session, records)

    def _trouble(self) -> str | None:
        if not self.untouchable:
            return None
        files = counted(self.untouchable, "file", "files")
        return f"{files} cannot be read or moved: let the user that runs the gateway do both."

    def _told(self) -> str:
        if not self.stored and not self.rejected:
            return ""
        told = f"{self.stored.total()} stored, {counted(len(self.stored), 'study', 'studies')}"
        return told + (f", {self.rejected} rejected: see rejected/." if self.rejected else ".")


def study_of(content: bytes, name: str) -> str:
    """The StudyInstanceUID of a whole DICOM file; raises `Rejected`."""
    try:
        ds = dcmread(BytesIO(content))
        whole = _is_whole(ds, len(content))
        uids = [str(ds.get(k, "")) for k in ("StudyInstanceUID", "SeriesInstanceUID")]
        uids.append(str(ds.get("SOPInstanceUID", "")))
    except Exception:  # noqa: BLE001  pydicom raises anything for what is no DICOM
        cure = "Put DICOM files here, or JPEG or PNG images with a .json of the same name."
        raise Rejected(Complaint(name, "It is no DICOM file, or damaged.", cure)) from None
    if not whole:
        raise Rejected(Complaint(name, "It is cut off.", "Copy it again."))
    if not all(uids):
        cure = "It must have StudyInstanceUID, SeriesInstanceUID and SOPInstanceUID."
        raise Rejected(Complaint(name, "A UID is missing.", cure))
    return uids[0]


def _is_whole(ds: Dataset, size: int) -> bool:
    """Whether the file does not end in the middle, nor where its pixels should begin."""
    last = next(reversed(list(ds.values())), None)
    if isinstance(last, RawDataElement) and last.length != _UNDEFINED:
        if len(last.value or b"") < last.length:
            return False
        is_deflated = ds.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian
        if 0 < size - last.value_tell - last.length < _HEADER and not is_deflated:
            return False
    is_image = "BitsAllocated" in ds or "Image Storage" in UID(ds.get("SOPClassUID", "")).name
    return not is_image or any(keyword in ds for keyword in _PIXELS)


def _content(file: Path) -> bytes:
    if file.stat().st_size > MOST_BYTES:
        cure = "Send it by DICOM or DICOMweb."
        raise Rejected(Complaint(file.name, f"It is larger than {MOST_BYTES >> 30} GiB.", cure))
    return file.read_bytes()


def _pair(item: Item) -> tuple[Path, Path]:
    if item.rivals:
        names = ", ".join(file.name for file in item.files)
        cure = "Give each image a name of its own, and a .json of that name."
        raise Rejected(Complaint(names, "Several images have one sidecar.", cure))
    if item.sidecar is None:
        assert item.image is not None
        name = item.image.with_suffix(".json").name
        cure = f"Put {name} beside it, which says whose it is."
        raise Rejected(Complaint(item.image.name, "It has no sidecar.", cure))
    if item.image is None:
        cure = "Put the image beside it, with the same name and .jpg or .png."
        raise Rejected(Complaint(item.sidecar.name, "It has no image.", cure))
    return item.image, item.sidecar
