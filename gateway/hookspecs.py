"""Every hook, by the host that calls it.

A notification (`WorkerHooks`) runs as a job of its own for each extension, with its own retries.
An intervention answers at once, because somebody waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from flask import Blueprint

    from gateway.context import TaskContext
    from gateway.events import StudyDeleted, StudyStable

PROJECT = "argonath"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class WorkerHooks:
    """Called by the worker host, in a job that is tried again when it raises."""

    @hookspec
    def study_stable(self, event: StudyStable, context: TaskContext) -> None:
        """A study has arrived; `context` is of its tenant."""

    @hookspec
    def study_deleted(self, event: StudyDeleted, context: TaskContext) -> None:
        """A study has left the archive."""


class PortalHooks:
    """Called once, when the portal starts."""

    @hookspec
    def portal_blueprint(self) -> Blueprint:
        """Pages of the extension; `blueprint.navigation` lists its (title, endpoint) in the menu."""
        raise NotImplementedError


HOSTS: dict[str, type] = {"worker": WorkerHooks, "portal": PortalHooks}
