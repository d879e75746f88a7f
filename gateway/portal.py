"""What the portal gives to a page of an extension, and what that may add to the portal's own.

A `portal.py` takes the context from ``flask.current_app.extensions["argonath"]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, TypedDict

import pluggy

from gateway import access, audit
from gateway.access import Action
from gateway.actions import Actions, Step
from gateway.archive import Archive
from gateway.db import Database, Session
from gateway.errors import GatewayError
from gateway.identity import Principal
from gateway.plugins import Extension
from gateway.settings import Settings

type Tone = Literal["good", "busy", "bad", "plain"]


class NoTenantEntered(GatewayError):
    """This page shows one tenant, and none is chosen.

    Enter a tenant first: Tenants, then Enter.
    """

    http_status = 409


@dataclass(frozen=True)
class Badge:
    """A state in a few words; colour only repeats what the words say."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True)
class Figure:
    """One number on the overview, with the page that explains it."""

    label: str
    value: int
    tone: Tone = "plain"
    url: str = ""


@dataclass(frozen=True)
class Link:
    """A way from a study to something that can be done with it."""

    text: str
    url: str


@dataclass(frozen=True)
class StudySection:
    """A part of the page of one study; `html` is markup that the extension's template escaped."""

    title: str
    html: str


@dataclass(frozen=True)
class Sample:
    """One value for Prometheus."""

    name: str
    help: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


class Who(TypedDict):
    """The visitor, as the audit names them."""

    actor: str
    origin: str


@dataclass(frozen=True)
class PortalContext:
    """The portal's settings, rows and archive, who asks now, and what rules can do.

    `hooks`: what every extension answers.
    """

    settings: Settings
    database: Database
    extensions: Sequence[Extension]
    principal: Callable[[], Principal]
    origin: Callable[[], str]
    actions: Actions
    hooks: pluggy.HookRelay

    def tenant(self) -> str:
        """The tenant in which the present principal works; raises `NoTenantEntered`.

        Whether they may do there what the page does was asked before (`gateway.needs`).
        """
        tenant_id = self.principal().tenant_id
        if tenant_id is None:
            raise NoTenantEntered
        return tenant_id

    @contextmanager
    def tenant_session(self) -> Iterator[Session]:
        """A session of the tenant in which the principal works; raises `NoTenantEntered`."""
        with self.database.tenant_session(self.tenant()) as session:
            yield session

    def who(self) -> Who:
        """The visitor of this request."""
        return {"actor": self.principal().name, "origin": self.origin()}

    def record_failure(self, action: str, resource: str, why: str) -> None:
        """Audit that the visitor tried something that did not succeed.

        `why` repeats nothing that was typed: it may be a patient's name.
        """
        with self.tenant_session() as session:
            self.record(session, action, resource[:80], self.tenant(), why, "failed")

    def may(self, action: Action) -> bool:
        """Whether to offer `action` on the page; the page that does it needs it."""
        return access.permits(self.principal(), action)

    def uses_of(self, session: Session, step: Step) -> list[str]:
        """Where the tenant does `step`, or still will; see `PortalHooks.uses_of_step`."""
        told = self.hooks.uses_of_step(session=session, step=step)
        return [use for of_extension in told for use in of_extension]

    def missing_of(self, session: Session, step: Step) -> list[str]:
        """What `step` names and is not there; see `PortalHooks.missing_of_step`."""
        told = self.hooks.missing_of_step(session=session, step=step)
        return [one for of_extension in told for one in of_extension]

    def archive(self, tenant_id: str, *, timeout_s: float = 5.0) -> Archive:
        """The archive of one tenant, for as long as somebody looks at an empty page."""
        return Archive(
            self.settings.orthanc_url, self.settings.internal_token, tenant_id, timeout_s=timeout_s
        )

    def record(
        self,
        session: Session,
        action: str,
        resource: str,
        tenant_id: str | None,
        detail: str = "",
        verdict: audit.Verdict = "allowed",
    ) -> None:
        """Append to the audit, in the transaction of the deed, that the principal did it."""
        audit.append(
            session,
            audit.Record(
                self.principal().name,
                action,
                resource,
                verdict,
                tenant_id,
                self.origin(),
                detail,
            ),
        )
