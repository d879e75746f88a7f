from __future__ import annotations

from pathlib import Path

import pytest

from extensions import routing
from extensions.routing.destination_settings import MODELS
from extensions.routing.ledger import InstanceState
from extensions.routing.sending import name_pattern
from extensions.routing.sending.limits import Limits

README = Path(routing.__file__).with_name("README.md").read_text(encoding="utf-8")
DESTINATIONS = README.split("\n## Destinations\n")[1].split("\n## ")[0]
DELIVERIES = README.split("\n## Deliveries\n")[1].split("\n## ")[0]
SETTINGS = [
    *((kind, name) for kind, model in MODELS.items() for name in model.model_fields),
    *(("limit", name) for name in Limits.model_fields),
]


@pytest.mark.parametrize(("kind", "name"), SETTINGS)
def test_the_manual_knows_every_setting_of_its_kind(kind: str, name: str) -> None:
    first, following = ("| limit |", "\n\n") if kind == "limit" else (f"\n| `{kind}` (", "\n| `")
    assert first in DESTINATIONS
    rows = DESTINATIONS.split(first)[1].split(following)[0].split("\n\n")[0]
    assert name == "kind" or f"`{name}`" in rows


@pytest.mark.parametrize("state", InstanceState.__value__.__args__)
def test_the_manual_knows_every_state(state: str) -> None:
    assert f"\n| {state} |" in DELIVERIES


def test_the_manual_tells_the_standard_pattern() -> None:
    assert f"`{name_pattern.STANDARD}`" in DESTINATIONS
