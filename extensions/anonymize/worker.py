"""De-identification in the worker host: what the action does."""

from __future__ import annotations

from collections.abc import Sequence

from extensions.anonymize.action import ANONYMIZE
from gateway.actions import Action
from gateway.hookspecs import hookimpl


@hookimpl
def rule_actions() -> Sequence[Action]:
    """`anonymize`."""
    return [ANONYMIZE]
