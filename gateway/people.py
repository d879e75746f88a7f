"""The people of a tenant, and what an admin may change about them.

Somebody becomes a member by an invitation alone (`invitations.py`), whether they belong to another
tenant or to none: so nobody learns of the other tenant by asking. Nobody changes their own
membership, so a tenant never loses its last admin; and owners are made, changed and removed by
owners and system admins alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gateway import access
from gateway.access import Action
from gateway.db import Row, Session
from gateway.errors import GatewayError, NotAllowed, NotFound
from gateway.identity import Principal, Role


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
