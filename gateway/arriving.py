"""An instance on its way into the archive, as an extension's `node.py` sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Sender:
    """Who sends it: the AE titles are empty by STOW-RS, the address where it is not known."""

    calling_aet: str = ""
    called_aet: str = ""
    address: str = ""


NOBODY = Sender()  # of what was not sent: the output of a job


type Transform = Callable[[bytes, Sender], bytes | None]
"""From a DICOM file as it was received to the one that is stored in its place; None: as it is.

The UIDs stay. A `GatewayError` refuses the instance, and its detail is kept in the audit: so it
quotes no value. It is called with locks held that every sender waits for: no network, no pixels.
"""
