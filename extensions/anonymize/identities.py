"""The way back from a pseudonym: sealed in rows of its own, and each look-up is audited.

What stands in a row is readable only with the installation's encryption key, which is not in the
database.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict

from extensions.anonymize.person import Person
from extensions.anonymize.projects import Project, record
from gateway import vault
from gateway.db import Session


def remember(session: Session, project: Project, person: Person, encryption_key: str) -> None:
    """Keep who is behind the person's pseudonym and behind the study's new UID."""
    keys = project.keys(encryption_key)
    sealed = vault.seal(encryption_key, json.dumps(asdict(person)))
    uid = person.study_uid if project.options.retain_uids else keys.uid(person.study_uid)
    for pseudonym in (keys.patient(person.identity), uid):
        session.execute(
            "INSERT INTO research_identity (tenant_id, project_id, pseudonym, sealed) "
            "VALUES (current_tenant(), %s, %s, %s) ON CONFLICT DO NOTHING",
            [project.project_id, pseudonym, sealed],
        )


def look_up(
    session: Session,
    project: Project,
    pseudonym: str,
    *,
    encryption_key: str,
    actor: str,
    origin: str,
) -> Person | None:
    """Who is behind a pseudonym or a StudyInstanceUID of the project; None where nobody is.

    Either way the audit tells who asked.
    """
    asked = pseudonym.strip()
    row = session.execute(
        "SELECT sealed FROM research_identity WHERE project_id = %s AND pseudonym = %s",
        [project.project_id, asked if "." in asked else asked.upper()],
    ).fetchone()
    record(
        session,
        "reidentify",
        f"research project {project.name}",
        actor,
        origin,
        # Something else may be what somebody typed of a patient.
        f"pseudonym {asked}" if _looks_like_one(project, asked) else "not a pseudonym",
        "allowed" if row else "failed",
    )
    if row is None:
        return None
    return Person(**json.loads(vault.unseal(encryption_key, row["sealed"])))


def _looks_like_one(project: Project, text: str) -> bool:
    pattern = rf"{project.name}-[0-9A-Z]{{5}}-[0-9A-Z]{{5}}|2\.25\.\d{{1,39}}"
    return re.fullmatch(pattern, text, re.IGNORECASE) is not None
