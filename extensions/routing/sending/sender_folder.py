"""Writing files below a folder of this machine, each whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from extensions.routing.destination_settings import FolderSettings
from extensions.routing.ledger import Instance
from extensions.routing.progress import Outcome
from extensions.routing.sending.name_pattern import NoName, name_of
from extensions.routing.sending.sender import Cues
from gateway.errors import DestinationUnavailable

WRITTEN = "written"


class FolderSender:
    """Writes below `root`, which belongs to the tenant alone; never outside it."""

    def __init__(self, settings: FolderSettings, root: Path) -> None:
        self._settings = settings
        self._root = root

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def send(self, instance: Instance, file: bytes, cues: Cues) -> Outcome:
        """Write one file; raises `DestinationUnavailable` when the folder takes none."""
        uid = instance.sop_instance_uid
        try:
            name = name_of(self._settings.pattern, file)
        except NoName as error:
            return Outcome(uid, False, True, "", str(error))
        cues.going()
        try:
            write(self._root, Path(self._settings.folder, name), file)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return Outcome(uid, False, True, "", "Its path is too long for the file system.")
            # Without the path: it may name a patient.
            told = f"{self._settings.address}: {error.strerror or type(error).__name__}."
            raise DestinationUnavailable(told) from error
        return Outcome(uid, True, False, WRITTEN)


def write(root: Path, name: Path, content: bytes) -> Path:
    """Write ``root/name`` in one step, safe on disk when this returns; raises `OSError`.

    A link that leads out of `root` is not followed.
    """
    root.mkdir(mode=0o750, parents=True, exist_ok=True)
    path = root / name
    made = _make_folders(root, path.parent)
    descriptor, part = tempfile.mkstemp(prefix=".argonath-", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(part).chmod(0o640)
        Path(part).replace(path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
    for folder in {path.parent, *made}:
        _sync(folder)
    return path


def _make_folders(root: Path, folder: Path) -> list[Path]:
    """Make what is missing; the folders whose entries have changed."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    there = missing[-1].parent if missing else folder
    if not there.resolve().is_relative_to(root.resolve()):
        raise OSError(errno.EPERM, "A link leads out of the folder")
    for each in reversed(missing):
        each.mkdir(mode=0o750, exist_ok=True)
    return [each.parent for each in missing]


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
