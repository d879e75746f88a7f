"""Every hook, by the host that calls it.

A notification (`WorkerHooks`) runs as a job of its own for each extension, with its own retries.
An intervention answers at once, because somebody waits. A service (`ServiceHooks`) runs for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping, Sequence

    from flask import Blueprint

    from gateway.actions import Action, RuleJob, Step
    from gateway.arriving import Transform
    from gateway.context import ServiceContext, TaskContext
    from gateway.db import Session
    from gateway.events import ResultNoted, StudyArriving, StudyDeleted, StudyStable
    from gateway.portal import Badge, Figure, Link, Sample, StudySection

PROJECT = "argonath"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class NodeHooks:
    """Called by the node, inside Orthanc."""

    @hookspec
    def transform_instance(self, session: Session) -> Mapping[str, Transform]:
        """By tenant, what changes its instances before they are stored; no entry: nothing does.

        Asked at the start and after each ``pg_notify('argonath_transform', '')``; `session` sees
        all tenants. A tenant whose transform is not known gets one that raises.
        """
        raise NotImplementedError

    @hookspec
    def study_unfinished(self, session: Session, study_uid: str) -> Sequence[str]:
        """What must be done before the study is deleted, each with what a person can do about it.

        Asked when its owner wants that, of whom `session` is, after all jobs of the study have
        ended. In words, such as ``rule 'CT': held; release or discard it``. Whatever it is, a
        person must be able to end it.
        """
        raise NotImplementedError


class ActionHooks:
    """Called once at the start, by the worker host and by the portal."""

    @hookspec
    def rule_actions(self) -> Sequence[Action]:
        """What rules can do by this extension; the same list in both hosts."""
        raise NotImplementedError

    @hookspec
    def rule_jobs(self) -> Sequence[RuleJob]:
        """Which tasks of this extension's worker.py rules may start; the same in both hosts."""
        raise NotImplementedError


class WorkerHooks(ActionHooks):
    """Called by the worker host, in a job that is tried again when it raises."""

    @hookspec
    def study_stable(self, event: StudyStable, context: TaskContext) -> None:
        """A study has arrived; `context` is of its tenant."""

    @hookspec
    def study_arriving(self, event: StudyArriving, context: TaskContext) -> None:
        """A study receives instances; only for tenants of `studies.watch_arrivals`."""

    @hookspec
    def study_deleted(self, event: StudyDeleted, context: TaskContext) -> None:
        """A study has left the archive."""

    @hookspec
    def result_noted(self, event: ResultNoted, context: TaskContext) -> None:
        """An extension has noted a result of a study that is new, or another than before."""


class PortalHooks(ActionHooks):
    """Called by the portal: the first once at its start, the others while it makes a page."""

    @hookspec
    def portal_blueprint(self) -> Blueprint:
        """Pages of the extension; `blueprint.navigation` lists (title, endpoint) for the menu."""
        raise NotImplementedError

    @hookspec
    def study_badges(
        self, session: Session, study_uids: Sequence[str]
    ) -> Mapping[str, Sequence[Badge]]:
        """What to say of each study in the list; `session` sees one tenant."""
        raise NotImplementedError

    @hookspec
    def study_links(self, study_uids: Sequence[str]) -> Mapping[str, Sequence[Link]]:
        """Where each study can be opened; the page of a study offers it at its head."""
        raise NotImplementedError

    @hookspec
    def study_section(self, session: Session, study_uid: str) -> StudySection | None:
        """A part of the page of one study."""

    @hookspec
    def uses_of_step(self, session: Session, step: Step) -> Sequence[str]:
        """Where the tenant does this action with (at least) these settings, or still will.

        In words, such as ``rule 'CT'``: asked before what the settings name is deleted.
        """
        raise NotImplementedError

    @hookspec
    def missing_of_step(self, session: Session, step: Step) -> Sequence[str]:
        """What the settings of this action name and the tenant does not have, each with its cure.

        In words, such as ``there is no destination 'x'; ...``: asked before a rule goes live.
        """
        raise NotImplementedError

    @hookspec
    def overview_figures(self, session: Session) -> Sequence[Figure]:
        """Numbers for a tenant's first page."""
        raise NotImplementedError

    @hookspec
    def portal_metrics(self, session: Session) -> Sequence[Sample]:
        """Values for /metrics, from a session across all tenants."""
        raise NotImplementedError


class ServiceHooks:
    """Called by the service host, each in a process of its own extension."""

    @hookspec
    def run(self, context: ServiceContext, stop: threading.Event) -> None:
        """Serve until `stop` is set, then return within a second; what raises is started again."""


HOSTS: dict[str, type] = {
    "node": NodeHooks,
    "worker": WorkerHooks,
    "portal": PortalHooks,
    "service": ServiceHooks,
}
