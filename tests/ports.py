"""TCP ports of this machine."""

from __future__ import annotations

import random
import socket
from contextlib import suppress


def free_port() -> int:
    """A TCP port that is free, and that no outgoing connection takes before it is listened on."""
    while True:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", random.randrange(10240, 20000)))
            return int(probe.getsockname()[1])


def is_listening(port: int) -> bool:
    """Whether connections to a port of this machine are taken."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
        return True
    return False
