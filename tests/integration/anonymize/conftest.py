"""Two projects in north, one of the same name in south."""

from __future__ import annotations

import pytest

from extensions.anonymize.options import Options
from extensions.anonymize.person import Person
from extensions.anonymize.projects import Project, create_project
from gateway.db import Database

KEY = "key"  # as in `settings`
JANE = Person("MRN-4711", "Doe^Jane", "19610203", "1.2.826.0.1.77")


def make_project(database: Database, tenant: str, name: str, **options: object) -> Project:
    with database.tenant_session(tenant) as session:
        return create_project(
            session,
            name,
            Options.model_validate(options),
            encryption_key=KEY,
            actor="admin@example.org",
            origin="10.0.0.1",
        )


@pytest.fixture
def lung(database: Database) -> Project:
    return make_project(database, "north", "LUNG")
