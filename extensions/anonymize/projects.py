"""Research projects: a name, options that never change, and a secret that makes the pseudonyms.

All functions take a tenant's session and see that tenant's rows alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import psycopg.errors
from psycopg.types.json import Jsonb

from extensions.anonymize.options import Options, check_name, parse_options
from extensions.anonymize.pseudonyms import Keys, new_secret
from gateway import audit, vault
from gateway.db import Row, Session
from gateway.errors import Conflict, NotFound


@dataclass(frozen=True)
class Project:
    """A research project; `secret` is sealed."""

    project_id: int
    name: str
    options: Options
    secret: str
    created_at: datetime
    patients: int = 0

    def keys(self, encryption_key: str) -> Keys:
        """What makes its pseudonyms; raises `SecretUnreadable`."""
        return Keys(self.name, vault.unseal(encryption_key, self.secret))


_QUERY = """
    SELECT p.*, (SELECT count(*) FROM research_identity i WHERE i.project_id = p.project_id
                 AND starts_with(i.pseudonym, p.name || '-')) AS patients
    FROM research_project p
"""


def list_projects(session: Session) -> list[Project]:
    """Every project, by name, with how many patients it has."""
    return [_read(row) for row in session.execute(_QUERY + "ORDER BY name")]


def get_project(session: Session, project_id: int) -> Project:
    """One project; raises `NotFound`."""
    row = session.execute(_QUERY + "WHERE project_id = %s", [project_id]).fetchone()
    if row is None:
        raise NotFound(f"Research project {project_id}.")
    return _read(row)


def find_project(session: Session, name: str) -> Project:
    """The project of this name; raises `NotFound`."""
    row = session.execute(_QUERY + "WHERE name = %s", [name]).fetchone()
    if row is None:
        raise NotFound(f"Research project {name}.")
    return _read(row)


def create_project(
    session: Session, name: str, options: Options, *, encryption_key: str, actor: str, origin: str
) -> Project:
    """Add a project with a secret of its own; raises `InvalidInput` or `Conflict`."""
    name = check_name(name)
    secret = vault.seal(encryption_key, new_secret())
    try:
        with session.transaction():
            session.execute(
                "INSERT INTO research_project (tenant_id, name, options, secret) "
                "VALUES (current_tenant(), %s, %s, %s)",
                [name, Jsonb(options.model_dump()), secret],
            )
    except psycopg.errors.UniqueViolation as error:
        raise Conflict(f"A research project named {name}.") from error
    told = "; ".join(meaning for _, meaning in options.codes())
    record(session, "create-project", f"research project {name}", actor, origin, told)
    return find_project(session, name)


def record(
    session: Session,
    action: str,
    resource: str,
    actor: str,
    origin: str,
    detail: str = "",
    verdict: audit.Verdict = "allowed",
) -> None:
    """Append to the tenant's audit."""
    row = session.execute("SELECT current_tenant() AS id").fetchone()
    tenant_id = row["id"] if row else None
    audit.append(session, audit.Record(actor, action, resource, verdict, tenant_id, origin, detail))


def _read(row: Row) -> Project:
    options = parse_options(row["options"])
    return Project(
        row["project_id"], row["name"], options, row["secret"], row["created_at"], row["patients"]
    )
