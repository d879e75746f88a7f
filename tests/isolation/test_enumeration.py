"""The lists of routes are read as their writers mean them."""

from __future__ import annotations

from tests.isolation.routes import of_node, plugin_routes


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
