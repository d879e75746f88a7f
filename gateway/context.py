"""What a job or a hook of the worker host is given."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from gateway.archive import Archive
from gateway.db import Database
from gateway.settings import Settings


@dataclass(frozen=True)
class TaskContext:
    """One tenant's view: its archive, its rows, its log.

    `archive` sees only this tenant's studies; take rows by
    ``context.database.tenant_session(context.tenant_id)``.
    """

    tenant_id: str
    settings: Settings
    database: Database
    archive: Archive
    log: logging.Logger
