"""What a page of the portal needs, written above its view; one way for the portal and extensions.

The portal asks the policy before the view runs, so no view decides about roles. A page that says
nothing is closed to everybody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gateway.access import Action


class Open(StrEnum):
    """What a page says that asks the policy for nothing."""

    TO_ALL = "open to all"
    TO_SIGNED_IN = "open to whoever is signed in"


@dataclass(frozen=True)
class Needs:
    """An action of the policy, and so its kind of resource (`access.KINDS`), or `Open`.

    `by_link`: whoever came by a link opens the page too, as far as the policy permits.

        @pages.get("/rules")
        @Needs(Action.READ_ROUTING)
        def show_rules() -> str: ...
    """

    what: Action | Open
    by_link: bool = False

    def __call__[View: Callable[..., Any]](self, view: View) -> View:
        """Declare it of `view`."""
        vars(view)["needs"] = self
        return view

    @staticmethod
    def of(view: Callable[..., Any]) -> Needs | None:
        """What `view` declares; None: nothing."""
        found: Needs | None = getattr(view, "needs", None)
        return found
