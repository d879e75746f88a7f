"""What a job, a hook of the worker host, or a service is given."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from gateway.actions import Actions
from gateway.archive import Archive
from gateway.db import Database
from gateway.settings import Settings


@dataclass(frozen=True)
class TaskContext:
    """One tenant's view: its archive, its rows, its log.

    `archive` sees only this tenant's studies; take rows by
    ``context.database.tenant_session(context.tenant_id)``. `actions` is what rules can do.
    """

    tenant_id: str
    settings: Settings
    database: Database
    archive: Archive
    log: logging.Logger
    actions: Actions


@dataclass(frozen=True)
class ServiceContext:
    """All tenants' view, of one long-running process: a service decides itself for whom it acts."""

    settings: Settings
    database: Database
    log: logging.Logger

    def archive(self, tenant_id: str) -> Archive:
        """The archive of one tenant; close it after use."""
        return Archive(self.settings.orthanc_url, self.settings.internal_token, tenant_id)
