"""How the TLS port tells the node whose an association is.

Orthanc shows its callbacks nothing of a connection but the two AE titles: a C-FIND and a C-MOVE
not even the address. So in the request that reaches Orthanc the called AE title is a handle, drawn
at random for this association; what it stands for lies in a file of that name in a folder that
only our own processes can open, from before the request is passed on until Orthanc has hung up. A
minute longer it is kept as ended: Orthanc looks at an N-ACTION after it has answered it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.certificates import Certificate
from gateway.errors import UnknownAETitle

_MARK = "TLS~"
_HANDLE = re.compile(rf"{_MARK}[A-Za-z0-9_-]{{12}}")  # 16 characters, 72 bits of them at random
_ENDED = ".ended"
_ENDED_KEPT_S = 60.0


@dataclass(frozen=True)
class Association:
    """Who calls whom; `address` is empty where it is not known, `certificate` None without TLS."""

    called: str
    calling: str
    address: str = ""
    certificate: Certificate | None = None


class Associations:
    """The associations of the TLS port that are open now, in a folder."""

    def __init__(self, data: Path) -> None:
        self._folder = data / "run" / "associations"

    def clear(self) -> None:
        """Make the folder, and forget what a killed TLS port left: its connections are gone."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for file in self._folder.iterdir():
            file.unlink(missing_ok=True)

    @contextlib.contextmanager
    def announced(self, association: Association) -> Iterator[str]:
        """The handle of an association, which is known to the node until the block ends."""
        handle = _MARK + secrets.token_urlsafe(9)
        file = self._folder / handle
        file.write_text(json.dumps(dataclasses.asdict(association)))
        try:
            yield handle
        finally:
            with contextlib.suppress(FileNotFoundError):  # cleared meanwhile
                os.utime(file)
                file.rename(file.with_suffix(_ENDED))
            self._forget_ended()

    def _forget_ended(self) -> None:
        for file in self._folder.glob(f"*{_ENDED}"):
            with contextlib.suppress(FileNotFoundError):  # another thread was faster
                if time.time() - file.stat().st_mtime > _ENDED_KEPT_S:
                    file.unlink()

    def of(
        self, called: str, calling: str, address: str = "", *, ended: bool = False
    ) -> Association:
        """Whose association Orthanc speaks of; raises `UnknownAETitle` for a handle that is none.

        One that did not come by TLS is what Orthanc says of it. `ended`: it may be over, for a
        minute at most.
        """
        if not called.startswith(_MARK):
            return Association(called, calling, address)
        if _HANDLE.fullmatch(called):
            with contextlib.suppress(OSError, ValueError):
                told = json.loads(self._read(self._folder / called, ended=ended))
                certificate = Certificate(**told.pop("certificate"))
                if told["calling"] == calling:
                    return Association(**told, certificate=certificate)
        raise UnknownAETitle(f"Calling {calling!r} from {address}: no association by TLS.")

    def _read(self, file: Path, *, ended: bool) -> str:
        try:
            return file.read_text()
        except FileNotFoundError:
            if not ended:
                raise
            return file.with_suffix(_ENDED).read_text()
