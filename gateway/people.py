"""The people of a tenant, and what an admin may change about them.

Nobody changes their own membership, so a tenant never loses its last admin; and owners are made,
changed and removed by owners and system admins alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gateway import access, identity
from gateway.access import Action
from gateway.db import Row, Session
from gateway.errors import Conflict, GatewayError, NotAllowed, NotFound
from gateway.identity import Principal, Role


class KnownElsewhere(GatewayError):
    """This person signs in to another tenant already.

    Ask a system admin to make them a member of this one too; they keep their password.
    """

    http_status = 409


class GivenElsewhere(GatewayError):
    """This role comes from the OpenID provider.

    Change the person's groups or app roles there; the role here follows when they sign in again.
    """

    http_status = 409


@dataclass(frozen=True)
class Member:
    """Somebody of a tenant; `last_seen_at` is when they were last in it.

    `source` is "oidc" where the OpenID provider gives the role, else "local".
    """

    person_id: int
    email: str
    role: Role
    disabled: bool
    source: str
    last_seen_at: datetime | None


def members(session: Session) -> list[Member]:
    """Everybody of the session's tenant, by e-mail address."""
    rows = session.execute(
        """
        SELECT p.person_id, p.email, m.role, p.disabled_at IS NOT NULL AS disabled, m.source,
               (SELECT max(c.last_used_at) FROM credential c
                WHERE c.person_id = p.person_id AND c.kind = 'session') AS last_seen_at
        FROM membership m JOIN person p USING (person_id) ORDER BY p.email
        """
    )
    return [Member(**(row | {"role": Role(row["role"])})) for row in rows]


def everybody(session: Session) -> list[Row]:
    """All who can sign in, with their `memberships` ("tenant role"). System session."""
    return session.execute(
        """
        SELECT p.person_id, p.email, p.system_admin, p.disabled_at, p.created_at,
               coalesce(array_agg(m.tenant_id || ' ' || m.role ORDER BY m.tenant_id)
                        FILTER (WHERE m.role IS NOT NULL), '{}') AS memberships,
               (SELECT max(c.last_used_at) FROM credential c
                WHERE c.person_id = p.person_id AND c.kind = 'session') AS last_seen_at
        FROM person p LEFT JOIN membership m USING (person_id)
        GROUP BY p.person_id ORDER BY p.email
        """
    ).fetchall()


def add(
    session: Session, actor: Principal, tenant_id: str, email: str, password: str, role: Role
) -> bool:
    """Make somebody a member, in a system session; whether `password` is theirs now.

    Who belongs to another tenant keeps their password, and only a system admin adds them: else
    whoever wrote an address down first would know the password to the next tenant's studies.
    Raises `InvalidInput`, `NotAllowed`, `Conflict` or `KnownElsewhere`.
    """
    check_roles(actor, role)
    email = email.strip().lower()
    known = session.execute(
        """
        SELECT person_id, system_admin OR oidc_issuer IS NOT NULL OR EXISTS (
                   SELECT FROM membership m WHERE m.person_id = p.person_id) AS belongs,
               EXISTS (SELECT FROM membership m
                       WHERE m.person_id = p.person_id AND m.tenant_id = %s) AS is_here
        FROM person p WHERE email = %s FOR UPDATE
        """,
        [tenant_id, email],
    ).fetchone()
    if known is None:
        person_id, belongs = identity.create_person(session, email, password), False
    else:
        person_id, belongs = known["person_id"], known["belongs"]
        if known["is_here"]:
            raise Conflict(f"{email} is a member.")
        if belongs and not access.is_system(actor):
            raise KnownElsewhere
        if not belongs:
            identity.set_password(session, person_id, password)
    identity.add_member(session, person_id, tenant_id, role)
    return not belongs


def change_role(session: Session, actor: Principal, person_id: int, role: Role) -> Member:
    """Give a member of the session's tenant another role, at once; who that was before."""
    member = _other_member(session, actor, person_id)
    check_roles(actor, member.role, role)
    if member.source == "oidc":
        raise GivenElsewhere
    session.execute("UPDATE membership SET role = %s WHERE person_id = %s", [role, person_id])
    session.execute(
        "UPDATE credential SET role = %s WHERE kind = 'session' AND person_id = %s "
        "AND role <> 'system-admin'",
        [role, person_id],
    )
    return member


def remove(session: Session, actor: Principal, person_id: int) -> Member:
    """End a membership of the session's tenant, and its sessions; who that was."""
    member = _other_member(session, actor, person_id)
    check_roles(actor, member.role)
    session.execute("DELETE FROM membership WHERE person_id = %s", [person_id])
    session.execute(
        "UPDATE credential SET revoked_at = now() WHERE kind = 'session' AND person_id = %s "
        "AND role <> 'system-admin' AND revoked_at IS NULL",
        [person_id],
    )
    return member


def disable(session: Session, actor: Principal, person_id: int, *, disabled: bool) -> str:
    """Let somebody sign in no longer, or again, in a system session; their e-mail address."""
    _check_other(actor, person_id)
    row = session.execute(
        "UPDATE person SET disabled_at = CASE WHEN %s THEN now() END WHERE person_id = %s "
        "RETURNING email",
        [disabled, person_id],
    ).fetchone()
    if row is None:
        raise NotFound(f"Person {person_id}.")
    return str(row["email"])


def check_roles(actor: Principal, *roles: Role) -> None:
    """Raise `NotAllowed` where one of `roles` is for owners alone to give and to take."""
    if Role.OWNER in roles and not access.permits(actor, Action.MANAGE_OWNERS):
        raise NotAllowed("Only an owner makes, changes or removes an owner.")


def _other_member(session: Session, actor: Principal, person_id: int) -> Member:
    _check_other(actor, person_id)
    for member in members(session):
        if member.person_id == person_id:
            return member
    raise NotFound(f"Member {person_id}.")


def _check_other(actor: Principal, person_id: int) -> None:
    if actor.person_id == person_id:
        raise NotAllowed("Nobody changes their own membership.")
