"""Who is asking: people with passwords, API keys, sessions, and our own processes.

A key or session is a random token of 256 bits; only its SHA-256 is stored. Passwords are stored
by argon2id.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

import argon2
import psycopg.errors

from gateway.db import Database, Row, Session
from gateway.errors import Conflict, InvalidInput, NotAllowed, NotAuthenticated, NotFound


class Role(StrEnum):
    """What somebody may do; `SERVICE` is ourselves acting for a tenant or for all."""

    VIEWER = "viewer"
    MEMBER = "member"
    ADMIN = "admin"
    OWNER = "owner"
    SYSTEM_ADMIN = "system-admin"
    SERVICE = "service"


@dataclass(frozen=True)
class Principal:
    """Somebody whose credentials were checked. `tenant_id` None: acts across tenants.

    `study_uid`: came by a link to this study, and reads it alone.
    """

    name: str
    role: Role
    tenant_id: str | None
    credential_id: int | None = None
    person_id: int | None = None
    expires_at: datetime | None = None
    study_uid: str | None = None


class NoMembership(NotAllowed):
    """You belong to no tenant of this gateway.

    Ask an admin of your hospital or department for an invitation. Who signs in by OpenID gets
    tenants from groups or app roles such as argonath:TENANT:ROLE: then ask whoever manages your
    account for one, and sign in again.
    """


@dataclass(frozen=True)
class Ended:
    """A session that is over; `id_token` is sealed, and empty unless the provider gave it."""

    email: str
    tenant_id: str | None
    id_token: str = field(repr=False)


KEY_PREFIX = "argonath_"
_passwords = argon2.PasswordHasher()


def hash_token(token: str) -> bytes:
    """What is stored of a token."""
    return hashlib.sha256(token.encode()).digest()


def service_principal(tenant_id: str | None) -> Principal:
    """Our own process, for one tenant or (None) for all."""
    return Principal("argonath", Role.SERVICE, tenant_id)


def is_internal(token: str, internal_token: str) -> bool:
    """Whether `token` is the one that only our own processes can read."""
    return bool(internal_token) and hmac.compare_digest(token, internal_token)


def create_api_key(
    session: Session,
    tenant_id: str | None,
    role: Role,
    *,
    label: str = "",
    expires_at: datetime | None = None,
) -> str:
    """Make an API key and return it; it cannot be shown again. Raises `NotFound`."""
    token = KEY_PREFIX + secrets.token_urlsafe(32)
    try:
        session.execute(
            "INSERT INTO credential (kind, token_hash, tenant_id, role, label, expires_at) "
            "VALUES ('api-key', %s, %s, %s, %s, %s)",
            [hash_token(token), tenant_id, role, label, expires_at],
        )
    except psycopg.errors.ForeignKeyViolation as error:
        raise NotFound(f"Tenant {tenant_id!r}.") from error
    return token


def revoke_api_key(session: Session, *, token: str = "", credential_id: int = 0) -> None:
    """Make a key worthless at once, on every node; raises `NotFound`."""
    revoked = session.execute(
        "UPDATE credential SET revoked_at = now() WHERE kind = 'api-key' AND revoked_at IS NULL "
        "AND (token_hash = %s OR credential_id = %s)",
        [hash_token(token), credential_id],
    ).rowcount
    if not revoked:
        raise NotFound("An API key that is not revoked yet.")


def api_keys(session: Session, tenant_id: str | None = None) -> list[Row]:
    """The keys that the session may see, of one tenant or all: the newest first."""
    return session.execute(
        "SELECT credential_id, tenant_id, role, label, created_at, expires_at, revoked_at, "
        "last_used_at FROM credential WHERE kind = 'api-key' "
        "AND coalesce(tenant_id = %(tenant)s, %(tenant)s::text IS NULL) "
        "ORDER BY credential_id DESC",
        {"tenant": tenant_id},
    ).fetchall()


def authenticate(database: Database, token: str) -> Principal:
    """Whose key or session `token` is; raises `NotAuthenticated`."""
    with database.system_session("authenticate") as session:
        row = session.execute(
            """
            UPDATE credential c SET last_used_at = now()
            FROM (SELECT credential_id FROM credential WHERE token_hash = %s) AS found
            LEFT JOIN credential same USING (credential_id)
            LEFT JOIN person p ON p.person_id = same.person_id
            WHERE c.credential_id = found.credential_id
              AND c.revoked_at IS NULL
              AND (c.expires_at IS NULL OR c.expires_at > now())
              AND p.disabled_at IS NULL
            RETURNING c.credential_id, c.kind, c.tenant_id, c.role, c.label, c.expires_at,
                      c.person_id, p.email
            """,
            [hash_token(token)],
        ).fetchone()
    if row is None:
        raise NotAuthenticated("The key or session is unknown, expired or revoked.")
    name = row["email"] or row["label"] or f"key {row['credential_id']}"
    return Principal(
        name,
        Role(row["role"]),
        row["tenant_id"],
        row["credential_id"],
        row["person_id"],
        row["expires_at"],
    )


def create_person(
    session: Session, email: str, password: str, *, system_admin: bool = False
) -> int:
    """Add somebody who may sign in; raises `InvalidInput` or `Conflict`."""
    email = email.strip().lower()
    if "@" not in email:
        raise InvalidInput(f"{email!r} is no e-mail address.")
    password_hash = _hash_password(password)
    try:
        row = session.execute(
            "INSERT INTO person (email, password_hash, system_admin) VALUES (%s, %s, %s) "
            "RETURNING person_id",
            [email, password_hash, system_admin],
        ).fetchone()
    except psycopg.errors.UniqueViolation as error:
        raise Conflict(f"User {email}.") from error
    assert row is not None
    return int(row["person_id"])


def set_password(session: Session, person_id: int, password: str) -> None:
    """Give somebody a new password; raises `InvalidInput`."""
    session.execute(
        "UPDATE person SET password_hash = %s WHERE person_id = %s",
        [_hash_password(password), person_id],
    )


def add_member(session: Session, person_id: int, tenant_id: str, role: Role) -> None:
    """Give somebody a role in a tenant, or change it."""
    session.execute(
        "INSERT INTO membership (person_id, tenant_id, role) VALUES (%s, %s, %s) "
        "ON CONFLICT (tenant_id, person_id) DO UPDATE SET role = excluded.role",
        [person_id, tenant_id, role],
    )


def sign_in(database: Database, email: str, password: str, *, hours: int) -> str:
    """Check a password and return a session token; raises `NotAuthenticated`.

    A person with several tenants starts in the first; a system admin in none.
    """
    with database.system_session("sign in") as session:
        person_id = person_with_password(session, email, password)
        try:
            return open_session(session, person_id, hours=hours)
        except NoMembership:
            raise NotAuthenticated("This user belongs to no tenant.") from None


def person_with_password(session: Session, email: str, password: str) -> int:
    """Who signs in with this address and password; raises `NotAuthenticated`."""
    person = session.execute(
        "SELECT person_id, password_hash FROM person WHERE email = %s AND disabled_at IS NULL",
        [email.strip().lower()],
    ).fetchone()
    _check_password(person["password_hash"] if person else None, password)
    assert person is not None
    return int(person["person_id"])


def open_session(
    session: Session,
    person_id: int,
    *,
    hours: int,
    tenant_id: str | None = None,
    id_token: str = "",
) -> str:
    """Begin a session of somebody whose identity was checked; its token.

    It begins in `tenant_id`, else in the first of the person's tenants; a system admin's in none.
    `id_token` (sealed) ends the session at the OpenID provider too. Raises `NoMembership`.
    """
    found = session.execute(
        """
        SELECT p.system_admin, m.tenant_id, m.role FROM person p LEFT JOIN membership m
        ON m.person_id = p.person_id WHERE p.person_id = %s
        ORDER BY m.tenant_id = %s DESC NULLS LAST, m.tenant_id LIMIT 1
        """,
        [person_id, tenant_id],
    ).fetchone()
    if found and found["system_admin"]:
        place, role = None, Role.SYSTEM_ADMIN
    elif found and found["tenant_id"]:
        place, role = found["tenant_id"], Role(found["role"])
    else:
        raise NoMembership
    token = secrets.token_urlsafe(32)
    session.execute(
        "INSERT INTO credential (kind, token_hash, tenant_id, person_id, role, expires_at, "
        "oidc_id_token) VALUES ('session', %s, %s, %s, %s, now() + %s, %s)",
        [hash_token(token), place, person_id, role, timedelta(hours=hours), id_token or None],
    )
    return token


def enter_tenant(session: Session, principal: Principal, tenant_id: str | None) -> None:
    """Move a person's session to another tenant of theirs; a system admin may enter any."""
    if principal.person_id is None:
        raise NotFound("Only a signed-in person can change the tenant.")
    row = session.execute(
        "SELECT CASE WHEN p.system_admin THEN 'system-admin' ELSE m.role END AS role "
        "FROM person p LEFT JOIN membership m ON m.person_id = p.person_id AND m.tenant_id = %s "
        "WHERE p.person_id = %s",
        [tenant_id, principal.person_id],
    ).fetchone()
    if row is None or row["role"] is None:
        raise NotFound(f"Tenant {tenant_id!r}.")
    session.execute(
        "UPDATE credential SET tenant_id = %s, role = %s WHERE credential_id = %s",
        [tenant_id, row["role"], principal.credential_id],
    )


def sign_out(database: Database, token: str) -> Ended | None:
    """End a session; None when it is over already."""
    with database.system_session("sign out") as session:
        row = session.execute(
            "UPDATE credential c SET revoked_at = now() FROM person p "
            "WHERE c.kind = 'session' AND c.token_hash = %s AND c.revoked_at IS NULL "
            "AND p.person_id = c.person_id RETURNING p.email, c.tenant_id, c.oidc_id_token",
            [hash_token(token)],
        ).fetchone()
    return Ended(row["email"], row["tenant_id"], row["oidc_id_token"] or "") if row else None


def check_new_password(password: str) -> None:
    """Raise `InvalidInput` where nobody may have such a password."""
    if len(password) < 12:
        raise InvalidInput("A password has at least 12 characters.")


def _hash_password(password: str) -> str:
    check_new_password(password)
    return _passwords.hash(password)


def _check_password(stored: str | None, password: str) -> None:
    if stored is None:
        # One argon2 computation for an unknown user too, so that the time tells nothing.
        _passwords.hash(password)
    else:
        with suppress(argon2.exceptions.VerificationError):
            _passwords.verify(stored, password)
            return
    raise NotAuthenticated("E-mail or password is wrong.")
