"""The lists of routes are read as their writers mean them; no page declares too little."""

from __future__ import annotations

import pytest
from flask import Flask

from gateway.access import Action
from gateway.needs import Needs, Open
from tests.isolation.expectations import OPEN_TO_ALL, OPEN_TO_MEMBERS, too_weak
from tests.isolation.routes import of_node, of_portal, plugin_routes


def test_the_plugins_patterns_become_paths_with_named_places() -> None:
    patterns = [
        "/dicom-web/studies/([^/]*)/series/([^/]*)/instances/([^/]*)/bulk/(.*)",
        "/dicom-web/servers/([^/]*)/stow",
        "/studies/([^/]*)/update-dicomweb-cache",
    ]
    assert [route.path for route in plugin_routes(patterns)] == [
        "/dicom-web/servers/{name}/stow",
        "/orthanc/dicom-web/servers/{name}/stow",
        "/dicom-web/studies/{study}/series/{series}/instances/{instance}/bulk/{rest}",
        "/orthanc/studies/{study}/update-dicomweb-cache",
    ]


def test_what_our_own_plugin_registers_is_called_too() -> None:
    assert "/orthanc/argonath/admit" in {route.path for route in of_node()}


def test_no_page_is_open_to_more_than_it_may(portal: Flask) -> None:
    assert too_weak(of_portal(portal)) == [], "open to more than admins: say so in expectations"


def test_what_is_said_to_be_open_is_there(portal: Flask) -> None:
    pages = {f"{method} {route.path}" for route in of_portal(portal) for method, _ in route.needs}
    assert pages >= OPEN_TO_ALL | OPEN_TO_MEMBERS


@pytest.mark.parametrize(
    ("endpoint", "weak", "page"),
    [
        ("keys.create", Action.READ_STUDY, "POST /keys"),
        ("keys.create", Open.TO_SIGNED_IN, "POST /keys"),
        ("audit.index", Action.READ_ROUTING, "GET /audit"),
        ("tenants.create", Action.MANAGE_KEYS, "POST /tenants"),
        (
            "routing.delete_rule",
            Action.READ_ROUTING,
            "POST /routing/rules/named/{rule_name}/delete",
        ),
        ("studies.index", Open.TO_ALL, "GET /studies"),
    ],
)
def test_a_page_that_declares_too_little_is_named(
    portal: Flask,
    monkeypatch: pytest.MonkeyPatch,
    endpoint: str,
    weak: Action | Open,
    page: str,
) -> None:
    before = set(too_weak(of_portal(portal)))
    monkeypatch.setattr(portal.view_functions[endpoint], "needs", Needs(weak))
    assert set(too_weak(of_portal(portal))) - before == {page}


def test_a_page_that_declares_nothing_is_expected_to_be_closed(
    portal: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(portal.view_functions["studies.index"], "needs")
    (studies,) = [route for route in of_portal(portal) if route.path == "/studies"]
    assert dict(studies.needs) == {"GET": Action.UNKNOWN_ROUTE}
