"""Invitations to a tenant: a link with a random token, good once and for a week.

The only way to become a member. To invite asks nobody whether the address has an account: who
belongs to another tenant is invited as a stranger is, and joins by their own password. Whoever
holds the link becomes a member, so it is sent to the address alone, or, without a mail server,
shown once to the inviter; only the token's hash is kept.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import datetime

from gateway import identity, people
from gateway.db import Session
from gateway.errors import Conflict, GatewayError, InvalidInput, NotAuthenticated, NotFound
from gateway.identity import Principal, Role

GOOD_FOR_DAYS = 7
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")


class InvitationOver(GatewayError):
    """This invitation was used or withdrawn, or has expired.

    Ask whoever invited you for a new one; if you have accepted it already, sign in.
    """

    http_status = 410


@dataclass(frozen=True)
class Invitation:
    """An invitation that can still be accepted."""

    invitation_id: int
    tenant_id: str
    title: str
    email: str
    role: Role
    invited_by: str
    expires_at: datetime


_OPEN = """
    SELECT i.invitation_id, i.tenant_id, t.title, i.email, i.role, i.invited_by, i.expires_at
    FROM invitation i JOIN tenant t USING (tenant_id)
    WHERE i.closed_at IS NULL AND i.expires_at > now()
"""


def invite(session: Session, actor: Principal, tenant_id: str, email: str, role: Role) -> str:
    """The token of a new invitation, which replaces an open one to this address.

    In a session of the tenant. Raises `InvalidInput`, `NotAllowed` or `Conflict`.
    """
    people.check_roles(actor, role)
    email = email.strip().lower()
    if not _ADDRESS.fullmatch(email) or len(email) > 254:
        raise InvalidInput(f"{email!r} is no e-mail address.")
    if any(member.email == email for member in people.members(session)):
        raise Conflict(f"{email} is a member.")
    session.execute(
        "UPDATE invitation SET closed_at = now() WHERE email = %s AND closed_at IS NULL", [email]
    )
    token = secrets.token_urlsafe(32)
    session.execute(
        "INSERT INTO invitation (tenant_id, email, role, token_hash, invited_by, expires_at) "
        "VALUES (%s, %s, %s, %s, %s, now() + make_interval(days => %s))",
        [tenant_id, email, role, identity.hash_token(token), actor.name, GOOD_FOR_DAYS],
    )
    return token


def pending(session: Session) -> list[Invitation]:
    """Those of the session's tenant that can still be accepted."""
    return [_of(row) for row in session.execute(f"{_OPEN} ORDER BY i.email".encode())]


def withdraw(session: Session, invitation_id: int) -> str:
    """Make an invitation of the session's tenant worthless; whom it was for."""
    row = session.execute(
        "UPDATE invitation SET closed_at = now() WHERE invitation_id = %s AND closed_at IS NULL "
        "RETURNING email",
        [invitation_id],
    ).fetchone()
    if row is None:
        raise NotFound(f"Invitation {invitation_id}.")
    return str(row["email"])


def find(session: Session, token: str) -> Invitation:
    """The invitation of a link, in a system session; raises `InvitationOver`."""
    row = session.execute(
        f"{_OPEN} AND i.token_hash = %s FOR UPDATE OF i".encode(), [identity.hash_token(token)]
    ).fetchone()
    if row is None:
        raise InvitationOver
    return _of(row)


def accept(session: Session, invitation: Invitation, person_id: int) -> None:
    """Make somebody a member and use the invitation up; `find` of this session holds its row."""
    session.execute(
        "INSERT INTO membership (person_id, tenant_id, role) VALUES (%s, %s, %s) "
        "ON CONFLICT (tenant_id, person_id) DO NOTHING",
        [person_id, invitation.tenant_id, invitation.role],
    )
    session.execute(
        "UPDATE invitation SET closed_at = now() WHERE invitation_id = %s",
        [invitation.invitation_id],
    )


def person_for(session: Session, invitation: Invitation, password: str) -> int:
    """The invited person: somebody new, or who knows the password of the account.

    Who belongs nowhere any more gets `password` as somebody new does. System session. Raises
    `InvalidInput` or `NotAuthenticated`.
    """
    identity.check_new_password(password)  # of an account that exists, too: the same answer
    known = session.execute(
        """
        SELECT person_id, system_admin OR oidc_issuer IS NOT NULL OR disabled_at IS NOT NULL
                   OR EXISTS (SELECT FROM membership m WHERE m.person_id = p.person_id) AS belongs
        FROM person p WHERE email = %s FOR UPDATE
        """,
        [invitation.email],
    ).fetchone()
    if known is None:
        return identity.create_person(session, invitation.email, password)
    if not known["belongs"]:
        identity.set_password(session, known["person_id"], password)
        return int(known["person_id"])
    try:
        return identity.person_with_password(session, invitation.email, password)
    except NotAuthenticated:
        raise NotAuthenticated("This is not the password of your account here.") from None


def _of(row: dict[str, object]) -> Invitation:
    return Invitation(**(row | {"role": Role(str(row["role"]))}))  # type: ignore[arg-type]
