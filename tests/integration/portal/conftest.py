"""The portal on a real database, with people of two tenants."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from gateway import identity, studies
from gateway.db import Database
from gateway.identity import Role
from gateway.settings import Settings
from webapp import create_app

PASSWORD = "correct horse battery"
HTML = {"Accept": "text/html"}
UID = "1.2.826.0.1.3680043.8.498.1"


@pytest.fixture
def app(database: Database, settings: Settings) -> Iterator[Flask]:
    """The portal with an admin and a viewer of north, one of south, and a system admin."""
    with database.system_session("test people") as session:
        identity.create_person(session, "root@example.org", PASSWORD, system_admin=True)
        for name, tenant, role in (
            ("admin", "north", Role.ADMIN),
            ("viewer", "north", Role.VIEWER),
            ("south", "south", Role.ADMIN),
        ):
            person = identity.create_person(session, f"{name}@example.org", PASSWORD)
            identity.add_member(session, person, tenant, role)
        arrival = studies.Arrival(UID, "P1", "<script>alert(1)</script>^Eve", "20260102")
        studies.claim(session, "north", arrival)
    app = create_app(settings)
    app.config["WTF_CSRF_ENABLED"] = False
    yield app
    app.extensions["argonath"].database.close()


def signed_in(app: Flask, name: str) -> FlaskClient:
    client = app.test_client()
    form = {"email": f"{name}@example.org", "password": PASSWORD}
    assert client.post("/sign-in", data=form, headers=HTML).status_code == 303
    return client
