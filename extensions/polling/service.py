"""Polling's service: asks the sources and watches the folders until it is told to stop."""

from __future__ import annotations

import threading

from extensions.polling.poller import Poller
from gateway.context import ServiceContext
from gateway.hookspecs import hookimpl


@hookimpl
def run(context: ServiceContext, stop: threading.Event) -> None:
    """Serve every tenant's sources."""
    Poller(context).run(stop)
