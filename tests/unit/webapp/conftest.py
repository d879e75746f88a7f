"""The portal without any database behind it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from gateway.settings import Settings
from webapp import create_app


@pytest.fixture
def app() -> Iterator[Flask]:
    """The whole portal; its database and Redis do not exist."""
    settings = Settings(
        database_url="postgresql://nobody@/none?host=/nonexistent&connect_timeout=1",
        redis_url="unix:///nonexistent/redis.sock",
        orthanc_url="http://127.0.0.1:9",
        secret_key="unit-test",
        blocked_extensions="routing",
    )
    app = create_app(settings)
    app.config["WTF_CSRF_ENABLED"] = False
    yield app
    app.extensions["argonath"].database.close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser that keeps cookies."""
    return app.test_client()
