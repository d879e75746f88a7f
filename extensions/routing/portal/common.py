"""What routing's pages share: the blueprint, the session of a request, and how states look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import ClassVar, cast

from flask import Blueprint, current_app, request

from gateway.access import Action
from gateway.db import Session
from gateway.portal import PortalContext, Tone, Who

TONES: Mapping[str, Tone] = {
    "waiting": "plain",
    "planned": "plain",
    "sending": "busy",
    "held": "bad",
    "delivered": "good",
    "verified": "good",
    "failed": "bad",
    "cancelled": "plain",
}


RUN_TONES: Mapping[str, Tone] = {
    "running": "busy",
    "held": "bad",
    "done": "good",
    "failed": "bad",
    "discarded": "plain",
}


STAGE_TONES: Mapping[str, Tone] = {
    "done": "good",
    "under way": "busy",
    "held": "bad",
    "failed": "bad",
}


class RoutingPages(Blueprint):
    """The blueprint, and what of it stands in the menu."""

    navigation: ClassVar[Sequence[tuple[str, str]]] = (
        ("Deliveries", "show_deliveries"),
        ("Rules", "show_rules"),
        ("Destinations", "show_destinations"),
    )


pages = RoutingPages("routing", "extensions.routing", template_folder="templates")

# What is larger than an ordinary form: lists of rules, tables, a DICOM file. nginx takes 50 MB.
MOST_BYTES: Mapping[str, int] = {
    "routing.try_file": 50_000_000,
    "routing.change_crosswalk": 50_000_000,
}
MOST_TEXT = 4_000_000


@pages.url_value_preprocessor
def take_larger_forms(endpoint: str | None, _values: dict[str, object] | None) -> None:
    """Before anything reads the form."""
    if request.method in {"POST", "PUT"}:
        request.max_content_length = MOST_BYTES.get(endpoint or "", MOST_TEXT)
        request.max_form_memory_size = MOST_TEXT


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
    """What secrets of destinations are sealed with."""
    return portal().settings.encryption_key


def may_change() -> bool:
    """Whether to offer changes on a page."""
    return portal().may(Action.CHANGE_ROUTING)
