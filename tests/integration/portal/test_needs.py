"""A page that does not say what it needs is closed, and whoever asks for it raises the alert."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.integration.portal.conftest import HTML, signed_in


@pytest.fixture
def unmarked(app: Flask) -> Flask:
    """The portal with a page whose author forgot to say what it needs."""
    app.add_url_rule("/forgotten", "forgotten", lambda: "what nobody may see")
    return app


def alert(root: FlaskClient) -> float:
    """The counter at /metrics."""
    lines = root.get("/metrics").text.splitlines()
    name = 'argonath_unknown_route_total{part="portal"} '
    (line,) = [line for line in lines if line.startswith(name)]
    return float(line.removeprefix(name))


def test_it_is_closed_to_everybody_and_each_attempt_is_counted(unmarked: Flask) -> None:
    root = signed_in(unmarked, "root")
    assert alert(root) == 0
    for client in (root, signed_in(unmarked, "admin"), unmarked.test_client()):
        answer = client.get("/forgotten", headers=HTML)
        assert answer.status_code == 403
        assert "what nobody may see" not in answer.text
    assert alert(root) == 3


def test_other_refusals_and_unknown_addresses_do_not_raise_the_alert(unmarked: Flask) -> None:
    root, viewer = signed_in(unmarked, "root"), signed_in(unmarked, "viewer")
    assert viewer.get("/keys", headers=HTML).status_code == 403
    assert viewer.get("/no-such-page", headers=HTML).status_code == 404
    assert alert(root) == 0


def test_the_audit_names_who_tried_and_the_page_by_its_endpoint(unmarked: Flask) -> None:
    for client in (signed_in(unmarked, "admin"), unmarked.test_client()):
        client.get("/forgotten?patient=DOE", headers=HTML)
    with unmarked.extensions["argonath"].database.system_session("test") as session:
        rows = session.execute(
            "SELECT actor, resource, verdict FROM audit WHERE action = 'unknown-route' ORDER BY 1"
        ).fetchall()
    assert [tuple(row.values()) for row in rows] == [
        ("admin@example.org", "page forgotten", "denied"),
        ("unknown", "page forgotten", "denied"),
    ]
