"""A C-STORE SCP in a process of its own that does what the file `mode` of its folder says.

``python -m tests.acceptance.routing.faulty_receiver PORT FOLDER``. Modes: ``ok``; a status to
refuse with, e.g. ``a700``; ``abort`` the association; ``hang`` until the mode changes, and then
store.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from pydicom.uid import CTImageStorage
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, evt


class Store:
    """An object is on the disk, whole, before it is acknowledged."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, event: evt.Event) -> int:
        while (mode := self._mode()) == "hang":
            time.sleep(0.05)
        if mode == "abort":
            event.assoc.abort()
            return 0xC000
        if mode != "ok":
            return int(mode, 16)
        uid = str(event.request.AffectedSOPInstanceUID)
        part = self._folder / "parts" / f"{uid}.{time.monotonic_ns()}"
        part.write_bytes(event.encoded_dataset())
        part.rename(self._folder / "disk" / uid)
        with (self._folder / "received").open("a") as log:
            log.write(f"{uid}\n")
        return 0x0000

    def _mode(self) -> str:
        return (self._folder / "mode").read_text().strip() or "ok"


def main(port: int, folder: Path) -> None:
    ae = AE(ae_title="RECEIVER")
    ae.maximum_pdu_size = 0
    ae.add_supported_context(CTImageStorage, ALL_TRANSFER_SYNTAXES)
    ae.start_server(("127.0.0.1", port), evt_handlers=[(evt.EVT_C_STORE, Store(folder))])


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
