from __future__ import annotations

import pytest

from gateway import audit, senders, studies
from tests.unit.orthanc_plugins.admission_world import World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    for name in ("claim", "mark_receiving", "find"):
        monkeypatch.setattr(studies, name, getattr(world, name))
    for name in ("sent_first", "begins_series"):
        monkeypatch.setattr(senders, name, getattr(world, name))
    monkeypatch.setattr(audit, "append", world.append)
    return world
