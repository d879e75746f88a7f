"""Research projects: a name and a secret, which make the pseudonyms and never change, and options.

All functions take a tenant's session and see that tenant's rows alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg.errors
from psycopg.types.json import Jsonb

from extensions.anonymize.options import (
    Options,
    check_description,
    check_name,
    parse_options,
)
from extensions.anonymize.pseudonyms import Keys, new_secret
from gateway import audit, vault
from gateway.actions import Step
from gateway.db import Row, Session
from gateway.errors import Conflict, GatewayError, InvalidInput, NotFound


class ProjectInUse(GatewayError):
    """A research project that is still used cannot be deleted.

    Take it out of the rules, and wait for what is under way, or cancel it.
    """

    http_status = 409


@dataclass(frozen=True)
class Project:
    """A research project; `secret` is sealed."""

    project_id: int
    name: str
    options: Options
    secret: str
    created_at: datetime
    description: str = ""
    patients: int = 0

    @property
    def step(self) -> Step:
        """The line of a rule that sends to it."""
        return Step("anonymize", {"project": self.name})

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
    session: Session,
    name: str,
    options: Options,
    *,
    description: str = "",
    encryption_key: str,
    actor: str,
    origin: str,
) -> Project:
    """Add a project with a secret of its own; raises `InvalidInput` or `Conflict`."""
    name, description = check_name(name), check_description(description)
    secret = vault.seal(encryption_key, new_secret())
    try:
        with session.transaction():
            session.execute(
                "INSERT INTO research_project (tenant_id, name, description, options, secret) "
                "VALUES (current_tenant(), %s, %s, %s, %s)",
                [name, description, Jsonb(options.model_dump()), secret],
            )
    except psycopg.errors.UniqueViolation as error:
        raise Conflict(f"A research project named {name}.") from error
    record(session, "create-project", f"research project {name}", actor, origin, _told(options))
    return find_project(session, name)


def change_project(
    session: Session,
    project: Project,
    *,
    description: str,
    options: Options,
    actor: str,
    origin: str,
) -> None:
    """Describe it otherwise, and make copies by other options (`options.changed`) from now on."""
    session.execute(
        "UPDATE research_project SET description = %s, options = %s WHERE project_id = %s",
        [check_description(description), Jsonb(options.model_dump()), project.project_id],
    )
    resource = f"research project {project.name}"
    record(session, "change-project", resource, actor, origin, _told(options))


def delete_project(
    session: Session,
    project: Project,
    *,
    confirmed: str,
    uses: Sequence[str],
    actor: str,
    origin: str,
) -> None:
    """Remove a project that nothing uses, its secret and its way back, for good.

    `confirmed`: its name, as somebody typed it. Raises `InvalidInput` or `ProjectInUse`.
    """
    if uses:
        raise ProjectInUse(f"{project.name}: {'; '.join(uses)}.")
    if confirmed.strip() != project.name:
        raise InvalidInput(f"name: type {project.name} to delete the project.")
    session.execute(
        "DELETE FROM research_project WHERE project_id = %s",  # its way back goes with it
        [project.project_id],
    )
    told = f"patients without a way back now: {project.patients}"
    record(session, "delete-project", f"research project {project.name}", actor, origin, told)


def _told(options: Options) -> str:
    meanings = "; ".join(meaning for _, meaning in options.codes())
    return meanings if options.burned_in == "refuse" else f"{meanings}; burned-in text passes"


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
        row["project_id"],
        row["name"],
        options,
        row["secret"],
        row["created_at"],
        row["description"],
        row["patients"],
    )
