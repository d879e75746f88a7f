"""A fresh, migrated database for each test, with the tenants north and south."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from argon2 import PasswordHasher

from gateway import identity
from gateway.db import Database
from gateway.migrate import migrate, migrations
from gateway.plugins import discover
from gateway.settings import Settings
from gateway.tenancy import create_tenant

_numbers = itertools.count(1)


@pytest.fixture(scope="session", autouse=True)
def cheap_passwords() -> Iterator[None]:
    """Some hundred people sign in here: with argon2's own costs that takes minutes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            identity, "_passwords", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        )
        yield


@pytest.fixture(scope="session")
def template(postgresql: str) -> str:
    """Conninfo of the server that holds the database `template_argonath`, migrated once."""
    migrate(
        f"{postgresql} dbname=postgres",
        f"{postgresql} dbname=template_argonath",
        migrations(discover()),
    )
    return postgresql


@pytest.fixture
def owner_url(template: str) -> Iterator[str]:
    """Conninfo of this test's database as the owner, who is above row-level security."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(f"{template} dbname=postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template_argonath".encode())
        yield f"{template} dbname={name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def app_url(owner_url: str) -> str:
    """Conninfo of this test's database as the application."""
    return owner_url.replace("user=argonath", "user=argonath_app")


@pytest.fixture
def database(app_url: str) -> Iterator[Database]:
    """This test's database as the application, with the tenants north and south."""
    database = Database(app_url)
    create_tenant(database, "north", "North Hospital", ["NORTH"])
    create_tenant(database, "south", "South Clinic", ["SOUTH"])
    yield database
    database.close()


@pytest.fixture
def settings(app_url: str, owner_url: str, redis_url: str, tmp_path: Path) -> Settings:
    """Settings that point at this test's database and Redis."""
    return Settings(
        data=tmp_path,
        database_url=app_url,
        database_admin_url=owner_url,
        redis_url=redis_url,
        internal_token="internal",
        secret_key="secret",
        encryption_key="key",
        retry_delay_s=0.2,
    )
