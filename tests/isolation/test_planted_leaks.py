"""A leak that is planted is found: in the policy, in the search, in a page, in the database.

The gateway runs from a copy of its sources (see `conftest.gateway`), which is changed here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from flask import Flask

from gateway.access import Action
from gateway.needs import Needs
from tests.isolation import matrix
from tests.isolation.matrix import Mismatch
from tests.isolation.routes import Route, of_portal
from tests.isolation.world import World


@dataclass(frozen=True)
class Leak:
    """A change of one place in the sources, and what must be said of it."""

    file: str
    correct: str
    wrong: str
    found: str


LEAKS = {
    "a row of the policy is dropped": Leak(
        "gateway/access.py", "    Action.READ_STUDY: _EVERYBODY,\n", "", "the gateway broke"
    ),
    "a row of the routes lets readers into Orthanc's REST": Leak(
        "gateway/routes.py",
        "TABLE: tuple[Row, ...] = (\n",
        'TABLE: tuple[Row, ...] = (\n    (Action.READ_STUDY, "GET", r"/(studies|changes).*"),\n',
        "must be refused, was 200",
    ),
    "whoever is inside a tenant reaches the raw archive": Leak(
        "gateway/access.py",
        "OUTSIDE_TENANTS = frozenset({Kind.ARCHIVE, Kind.NOTHING})",
        "OUTSIDE_TENANTS = frozenset()",
        "must be refused, was 200",
    ),
    "the label constraint is skipped": Leak(
        "orthanc_plugins/search.py",
        'return dict(request, Labels=[label_of(tenant_id)], LabelsConstraint="All")',
        "return dict(request)",
        "tells of the other tenant",
    ),
    "the owner of a study is not asked for": Leak(
        "orthanc_plugins/search.py",
        "if study is not None and (owner := self.owner_of(study)) != tenant_id:",
        "if study is not None and (owner := self.owner_of(study)) is None:",
        "tells of the other tenant",
    ),
    "what is shared is more than one study": Leak(
        "orthanc_plugins/search.py",
        'narrowed = of_studies(request["Query"], studies)',
        'narrowed = request["Query"]',
        "tells of the other tenant",
    ),
    "a link is not bound to its study": Leak(
        "orthanc_plugins/search.py",
        "narrowed = of_studies(query, [study_uid])",
        "narrowed = dict(query)",
        "tells of the other tenant",
    ),
    "the end of a share is not looked at": Leak(
        "orthanc_plugins/shares.py", "return not refused", "return True", "tells of the other"
    ),
    "another's study is answered otherwise than none": Leak(
        "orthanc_plugins/search.py",
        "self.look_up(self.absent)",
        "raise PermissionError",
        "of an absent one",
    ),
}


WEAK_PAGES = {
    "GET /audit": Leak(
        "webapp/audit.py",
        "@Needs(Action.READ_AUDIT)\ndef index",
        "@Needs(Action.READ_STUDY)\ndef index",
        "must be refused, was 200",
    ),
    "POST /keys": Leak(
        "webapp/keys.py",
        "@Needs(Action.MANAGE_KEYS)\ndef create",
        "@Needs(Action.READ_STUDY)\ndef create",
        "must be refused, was 200",
    ),
}


@contextmanager
def planted(world: World, leak: Leak, restart: Callable[[World], None]) -> Iterator[None]:
    """The gateway with one place changed, until that part of it is restarted."""
    file = world.sources / leak.file
    correct = file.read_text()
    assert correct.count(leak.correct) == 1, f"{leak.file} has changed: plant the leak anew"
    file.write_text(correct.replace(leak.correct, leak.wrong))
    try:
        restart(world)
        yield
    finally:
        file.write_text(correct)


def restart_node(world: World) -> None:
    """End Orthanc as a crash would, and wait until the next one answers."""
    _restart(world, "node:orthanc")


def restart_portal(world: World) -> None:
    """The same with the portal."""
    _restart(world, "edge:portal")


def _restart(world: World, program: str) -> None:
    group = world.gateway.data / "run" / f"{program.partition(':')[2]}.group"
    former = group.read_text()
    world.gateway.kill(program)
    # Written when all of the former's processes have ended.
    world.gateway.wait_until(lambda: group.read_text() not in ("", former), 30)
    world.gateway.wait_until(world.gateway.is_ready, 120)


def found(world: World, every_route: list[Route]) -> list[Mismatch]:
    """What a small matrix finds: what is read, by those who are inside a tenant."""
    wanted = [
        route
        for route in every_route
        if route.group != "orthanc" or route.path in ("/orthanc/studies", "/orthanc/changes")
    ]
    chosen = matrix.cases(
        world, wanted, methods=["GET"], callers=["admin", "system admin in south", "link"]
    )
    return matrix.run(world, chosen).mismatches


def test_without_a_planted_leak_nothing_is_found(world: World, every_route: list[Route]) -> None:
    assert found(world, every_route) == []


@pytest.mark.parametrize("name", LEAKS)
def test_a_leak_in_the_node_is_found(world: World, every_route: list[Route], name: str) -> None:
    with planted(world, LEAKS[name], restart_node):
        told = [mismatch.what for mismatch in found(world, every_route)]
    assert any(LEAKS[name].found in what for what in told), told[:10]


@pytest.mark.parametrize("page", WEAK_PAGES)
def test_a_page_that_asks_for_too_little_is_found(
    world: World, portal: Flask, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    """Planted as a mistake would be: what to expect is derived from the same declaration."""
    method, path = page.split()
    rule = next(r for r in portal.url_map.iter_rules() if r.rule == path and method in r.methods)
    monkeypatch.setattr(portal.view_functions[rule.endpoint], "needs", Needs(Action.READ_STUDY))
    (route,) = [route for route in of_portal(portal) if route.path == path]
    assert (method, Action.READ_STUDY) in route.needs
    asked = matrix.cases(world, [route], methods=[method], callers=["viewer", "member", "admin"])
    try:
        with planted(world, WEAK_PAGES[page], restart_portal):
            mismatches = matrix.run(world, asked).mismatches
    finally:
        restart_portal(world)
    told = WEAK_PAGES[page].found
    assert mismatches == [Mismatch(f"{who}: {page}", told) for who in ("viewer", "member")]


@pytest.mark.parametrize("table", ["study", "destination", "delivery", "credential", "membership"])
def test_a_table_without_row_level_security_is_found(
    world: World, every_route: list[Route], table: str
) -> None:
    try:
        with world.as_admin() as session:
            session.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
        told = [mismatch.what for mismatch in found(world, every_route)]
    finally:
        with world.as_admin() as session:
            session.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    assert any("tells of the other tenant" in what for what in told), told[:10]


def test_what_was_planted_is_gone(world: World, every_route: list[Route]) -> None:
    restart_node(world)
    assert found(world, every_route) == []
