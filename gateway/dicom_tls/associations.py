"""How the TLS port tells the node whose an association is.

Orthanc shows its callbacks nothing of a connection but the two AE titles: a C-FIND and a C-MOVE
not even the address. So in the request that reaches Orthanc the called AE title is a handle, drawn
at random for this association; what it stands for lies in a file of that name in a folder that
only our own processes can open, from before the request is passed on until Orthanc has hung up.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.certificates import Certificate
from gateway.errors import UnknownAETitle

_MARK = "TLS~"
_HANDLE = re.compile(rf"{_MARK}[A-Za-z0-9_-]{{12}}")  # 16 characters, 72 bits of them at random


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
            file.unlink(missing_ok=True)

    def of(self, called: str, calling: str, address: str = "") -> Association:
        """Whose association Orthanc speaks of; raises `UnknownAETitle` for a handle that is none.

        One that did not come by TLS is what Orthanc says of it.
        """
        if not called.startswith(_MARK):
            return Association(called, calling, address)
        if _HANDLE.fullmatch(called):
            with contextlib.suppress(OSError, ValueError):
                told = json.loads((self._folder / called).read_text())
                certificate = Certificate(**told.pop("certificate"))
                if told["calling"] == calling:
                    return Association(**told, certificate=certificate)
        raise UnknownAETitle(f"Calling {calling!r} from {address}: no association by TLS.")
