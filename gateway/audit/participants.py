"""Who took part in an event besides its actor, as PS3.15 A.5.3 asks for; pure.

Of a transfer it wants who sent and who received, of a query who asked and who answers. A record
has its actor; the other one is the gateway, or stands in the record's detail.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from gateway.audit.events import ACTIVITY, QUERY, TRANSFERRED, Code, Event, Row

SOURCE = Code("110153", "Source Role ID")
DESTINATION = Code("110152", "Destination Role ID")
APPLICATION = Code("110150", "Application")
_DELIVERED = re.compile(r"to (?P<name>.+?): \d+ of \d+")
_MOVED = re.compile(r"C-MOVE to (?P<name>.+?) at (?P<address>\S+):\d+: ")


@dataclass(frozen=True)
class Participant:
    """Somebody or some process; `role` in the event, where the event gives it one."""

    name: str
    is_requestor: bool
    address: str = ""
    role: Code | None = None


def participants(row: Row, event: Event) -> list[Participant]:
    """The actor first, then whoever else the event asks for."""
    actor = Participant(row["actor"], is_requestor=True, address=row["origin"])
    gateway = Participant("argonath", is_requestor=False)
    if event.id == ACTIVITY:
        return [replace(actor, role=APPLICATION)]
    if event.id == QUERY:
        return [replace(actor, role=SOURCE), replace(gateway, role=DESTINATION)]
    if event.id != TRANSFERRED:
        return [actor]
    if moved := _MOVED.match(row["detail"]):
        to = Participant(moved["name"], is_requestor=False, address=moved["address"])
        return [actor, replace(gateway, role=SOURCE), replace(to, role=DESTINATION)]
    if row["action"] == "deliver-study":
        delivered = _DELIVERED.match(row["detail"])
        name = delivered["name"] if delivered else "unknown"
        return [
            replace(actor, role=SOURCE),
            Participant(name, is_requestor=False, role=DESTINATION),
        ]
    return [replace(actor, role=SOURCE), replace(gateway, role=DESTINATION)]
