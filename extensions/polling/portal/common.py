"""What polling's pages share: the blueprint, the session of a request, and who asks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar, TypedDict, cast

from flask import Blueprint, current_app

from gateway import audit
from gateway.access import Action
from gateway.audit import Record
from gateway.db import Session
from gateway.portal import PortalContext


class PollingPages(Blueprint):
    """The blueprint, and what of it stands in the menu."""

    navigation: ClassVar[Sequence[tuple[str, str]]] = (("Sources", "show_sources"),)


pages = PollingPages("polling", "extensions.polling", template_folder="templates")


def portal() -> PortalContext:
    """The portal's settings and database, and who asks."""
    return cast("PortalContext", current_app.extensions["argonath"])


@contextmanager
def tenant_session() -> Iterator[Session]:
    """A session of the visitor's tenant; raises `NoTenantEntered`."""
    with portal().database.tenant_session(portal().tenant()) as session:
        yield session


class Who(TypedDict):
    """The visitor, as the audit names them."""

    actor: str
    origin: str


def who() -> Who:
    """The visitor of this request."""
    return {"actor": portal().principal().name, "origin": portal().origin()}


def record_failure(action: str, resource: str, why: str) -> None:
    """Audit that the visitor tried something that did not succeed; `why` repeats no input."""
    record = Record(
        **who(),
        action=action,
        resource=resource[:80],
        verdict="failed",
        tenant_id=portal().tenant(),
        detail=why,
    )
    with tenant_session() as session:
        audit.append(session, record)


def encryption_key() -> str:
    """What secrets of sources are sealed with."""
    return portal().settings.encryption_key


def may_change() -> bool:
    """Whether to offer changes on a page."""
    return portal().may(Action.CHANGE_ROUTING)
