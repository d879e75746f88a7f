"""Reaching another system: named checks for an admin, and what an association's line tells."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pynetdicom import evt
    from pynetdicom.association import Association

TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Check:
    """One thing that was tried, whether it went well, and what was answered or what to do."""

    name: str
    passed: bool
    detail: str


def reach(host: str, port: int) -> Check:
    """Whether somebody listens there."""
    name = f"TCP connection to {host}:{port}"
    try:
        socket.create_connection((host, port), timeout=TIMEOUT_S).close()
    except socket.gaierror:
        return Check(name, False, f"The name {host} is not known; check it, or use an address.")
    except TimeoutError:
        return Check(name, False, "No answer; check the address and the firewalls on the way.")
    except OSError as error:
        return Check(name, False, f"{error.strerror or error}; check the port and that it runs.")
    return Check(name, True, "Connected.")


class Line:
    """The TCP connection of an association; `is_open` from when the peer has accepted it."""

    is_open = False

    def opened(self, event: evt.Event) -> None:
        """Switch Nagle's algorithm off: with it each request waits 40 ms for a delayed ACK."""
        self.is_open = True
        link = event.assoc.dul.socket
        if link is not None and link.socket is not None:
            link.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def why_not(association: Association, address: str, line: Line) -> str:
    """Why there is no association with who is at `address`, in one sentence."""
    if association.is_rejected:
        answer = association.acceptor.primitive
        reason = getattr(answer, "reason_str", "") if answer else ""
        return f"{address} rejects the association: {reason or 'no reason given'}."
    if association.is_aborted and line.is_open:
        return f"{address} aborted the association."
    return f"{address} does not answer."
