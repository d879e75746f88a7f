"""What polling's pages share: the blueprint, the session of a request, and who asks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import ClassVar, cast

from flask import Blueprint, current_app

from gateway.access import Action
from gateway.db import Session
from gateway.portal import PortalContext, Who


class PollingPages(Blueprint):
    """The blueprint, and what of it stands in the menu."""

    navigation: ClassVar[Sequence[tuple[str, str]]] = (("Sources", "show_sources"),)


pages = PollingPages("polling", "extensions.polling", template_folder="templates")


def portal() -> PortalContext:
    """The portal's settings and database, and who asks."""
    return cast("PortalContext", current_app.extensions["argonath"])


def tenant_session() -> AbstractContextManager[Session]:
    """A session of the visitor's tenant; raises `NoTenantEntered`."""
    return portal().tenant_session()


def who() -> Who:
    """The visitor of this request."""
    return portal().who()


def encryption_key() -> str:
    """What secrets of sources are sealed with."""
    return portal().settings.encryption_key


def may_change() -> bool:
    """Whether to offer changes on a page."""
    return portal().may(Action.CHANGE_ROUTING)
