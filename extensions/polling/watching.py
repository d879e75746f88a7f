"""What lies in a watched folder: which files are complete, and which belong together."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DONE, REJECTED = "done", "rejected"
SETTLE_S = 2.0  # unchanged for so long, a file is complete
ORPHAN_S = 600.0  # and for so long, an image waits for its sidecar
MOST_AT_ONCE = 1000
_DEPTH = 8
_IMAGES = frozenset({".jpg", ".jpeg", ".png"})
_SIDECAR = ".json"
_UNFINISHED = frozenset({".part", ".partial", ".tmp", ".temp", ".filepart", ".crdownload", ".swp"})


@dataclass(frozen=True)
class Item:
    """What is stored as one: a DICOM file, or an image and its sidecar.

    Of these three either the first is given, or both of the others unless one did not come.
    """

    dicom: Path | None = None
    image: Path | None = None
    sidecar: Path | None = None
    rivals: tuple[Path, ...] = ()  # other images that claim the same sidecar

    @property
    def files(self) -> tuple[Path, ...]:
        """All of it; the sidecar last, because an image without one is never stored."""
        return tuple(
            f for f in (self.dicom, self.image, *self.rivals, self.sidecar) if f is not None
        )


def items(folder: Path, *, settle_s: float = SETTLE_S) -> list[Item]:
    """What can be taken now. An image or a sidecar alone is taken when it waited too long."""
    now = time.time()
    found: list[Item] = []
    pairs: dict[tuple[Path, str], list[Path]] = {}
    for file in _files(folder):
        if len(found) + len(pairs) >= MOST_AT_ONCE:
            break
        if file.suffix.lower() in _IMAGES | {_SIDECAR}:
            pairs.setdefault((file.parent, file.stem), []).append(file)
        elif is_complete(file, now, settle_s):
            found.append(Item(dicom=file))
    for files in pairs.values():
        images = sorted(f for f in files if f.suffix.lower() != _SIDECAR)
        sidecars = [f for f in files if f.suffix.lower() == _SIDECAR]
        is_pair = bool(images and sidecars)
        if all(is_complete(f, now, settle_s if is_pair else ORPHAN_S) for f in files):
            image = images[0] if images else None
            sidecar = sidecars[0] if sidecars else None
            found.append(Item(image=image, sidecar=sidecar, rivals=tuple(images[1:])))
    return found


def has_work(folder: Path) -> bool:
    """Whether anything lies there that `items` may return now or soon."""
    return next(_files(folder), None) is not None


def is_complete(file: Path, now: float, settle_s: float) -> bool:
    """Whether nobody has changed the file for a while, and nobody has it open to write."""
    try:
        told = file.lstat()
    except OSError:
        return False
    # ctime, because a copy may set the other time to the original's.
    return now - told.st_ctime >= settle_s and not _is_being_written(file)


def _is_being_written(file: Path) -> bool:
    """Ask the kernel, by a read lease, which it grants only while nobody writes (fcntl(2))."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except PermissionError:
        return False  # whoever takes it says so
    except OSError:
        return True
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False  # this file system has no leases: the pause alone decides
    finally:
        os.close(descriptor)
    return False


def _files(folder: Path, depth: int = 0) -> Iterator[Path]:
    """Regular files below, by name; never through a link, nor what we have put aside."""
    with contextlib.suppress(OSError):  # it may vanish meanwhile
        for entry in sorted(os.scandir(folder), key=lambda e: e.name):
            path = Path(entry.path)
            if entry.name.startswith(".") or path.suffix.lower() in _UNFINISHED:
                continue
            if entry.is_dir(follow_symlinks=False):
                if depth < _DEPTH and not (depth == 0 and entry.name in (DONE, REJECTED)):
                    yield from _files(path, depth + 1)
            elif stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                yield path
