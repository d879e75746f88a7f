"""People of the OpenID provider in our database: known by issuer and subject, with what it says.

Memberships that came from the provider follow it at each sign-in; what was given here stays.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway import identity
from gateway.db import Session
from gateway.errors import GatewayError, NotAllowed
from gateway.identity import Role
from gateway.oidc_claims import Stranger


class AddressTaken(GatewayError):
    """This e-mail address has an account with a password here.

    Sign in with that password once, then choose 'Link' on the page of your tenants: from then on
    both ways lead to the same account.
    """

    http_status = 409


class NoAddress(GatewayError):
    """The OpenID provider does not tell your e-mail address.

    Ask whoever manages your account there to let it send the claim `email` to this gateway.
    """

    http_status = 403


class LinkedElsewhere(GatewayError):
    """This account of the OpenID provider, or yours here, is linked with another one.

    Sign out at the provider and link the right account, or ask a system admin.
    """

    http_status = 409


def person_of(session: Session, stranger: Stranger, *, invited: bool = False) -> int:
    """The person whom the provider vouches for, brought up to date, in a system session.

    Somebody new is added when a tenant is theirs, or when `invited`. Raises `NoMembership`,
    `AddressTaken`, `NoAddress`, or `NotAllowed` for a disabled person.
    """
    given = existing(session, stranger.memberships)
    row = session.execute(
        "SELECT person_id, email, disabled_at FROM person "
        "WHERE oidc_issuer = %s AND oidc_subject = %s FOR UPDATE",
        [stranger.issuer, stranger.subject],
    ).fetchone()
    if row is None:
        if not given and not invited:
            raise identity.NoMembership
        person_id = _add(session, stranger)
    elif row["disabled_at"] is not None:
        raise NotAllowed("This user may not sign in.")
    else:
        person_id = row["person_id"]
        _rename(session, person_id, stranger.email)
    _follow(session, person_id, given)
    return int(person_id)


def link(session: Session, person_id: int, stranger: Stranger) -> None:
    """Let a signed-in person sign in by the provider too; raises `LinkedElsewhere`."""
    taken = session.execute(
        "SELECT FROM person WHERE person_id <> %(person)s AND oidc_issuer = %(issuer)s "
        "AND oidc_subject = %(subject)s OR person_id = %(person)s AND oidc_issuer IS NOT NULL",
        {"person": person_id, "issuer": stranger.issuer, "subject": stranger.subject},
    ).fetchone()
    if taken is not None:
        raise LinkedElsewhere
    session.execute(
        "UPDATE person SET oidc_issuer = %s, oidc_subject = %s WHERE person_id = %s",
        [stranger.issuer, stranger.subject, person_id],
    )
    _follow(session, person_id, existing(session, stranger.memberships))


def existing(session: Session, memberships: Mapping[str, Role]) -> dict[str, Role]:
    """Those of tenants that there are."""
    rows = session.execute(
        "SELECT tenant_id FROM tenant WHERE tenant_id = ANY(%s)", [list(memberships)]
    )
    return {row["tenant_id"]: memberships[row["tenant_id"]] for row in rows}


def may_sign_in(session: Session, issuer: str, subject: str) -> bool:
    """Whether nobody has disabled this person of the provider."""
    row = session.execute(
        "SELECT FROM person WHERE oidc_issuer = %s AND oidc_subject = %s "
        "AND disabled_at IS NOT NULL",
        [issuer, subject],
    ).fetchone()
    return row is None


def _add(session: Session, stranger: Stranger) -> int:
    if not stranger.email:
        raise NoAddress
    session.execute(
        "INSERT INTO person (email, oidc_issuer, oidc_subject) VALUES (%s, %s, %s) "
        "ON CONFLICT DO NOTHING",
        [stranger.email, stranger.issuer, stranger.subject],
    )
    # Perhaps two windows of the same person did it at once.
    row = session.execute(
        "SELECT person_id FROM person WHERE oidc_issuer = %s AND oidc_subject = %s",
        [stranger.issuer, stranger.subject],
    ).fetchone()
    if row is None:
        # Never joined by the address alone: whoever runs a provider can write any there.
        raise AddressTaken
    return int(row["person_id"])


def _rename(session: Session, person_id: int, email: str) -> None:
    session.execute(
        "UPDATE person SET email = %(email)s WHERE person_id = %(person)s AND email <> %(email)s "
        "AND %(email)s <> '' AND password_hash IS NULL "
        "AND NOT EXISTS (SELECT FROM person WHERE email = %(email)s)",
        {"email": email, "person": person_id},
    )


def _follow(session: Session, person_id: int, given: Mapping[str, Role]) -> None:
    """Make the memberships that came from the provider what it says, also for open sessions."""
    for tenant_id, role in given.items():
        session.execute(
            "INSERT INTO membership (person_id, tenant_id, role, source) "
            "VALUES (%s, %s, %s, 'oidc') "
            "ON CONFLICT (tenant_id, person_id) DO UPDATE SET role = excluded.role "
            "WHERE membership.source = 'oidc' AND membership.role <> excluded.role",
            [person_id, tenant_id, role],
        )
    session.execute(
        "DELETE FROM membership WHERE person_id = %s AND source = 'oidc' AND tenant_id <> ALL(%s)",
        [person_id, list(given)],
    )
    session.execute(
        """
        UPDATE credential c SET revoked_at = now()
        WHERE kind = 'session' AND revoked_at IS NULL AND person_id = %(person)s
          AND role <> 'system-admin' AND NOT EXISTS (
              SELECT FROM membership m
              WHERE m.person_id = c.person_id AND m.tenant_id = c.tenant_id)
        """,
        {"person": person_id},
    )
    session.execute(
        """
        UPDATE credential c SET role = m.role FROM membership m
        WHERE c.kind = 'session' AND c.person_id = %(person)s AND m.person_id = c.person_id
          AND m.tenant_id = c.tenant_id AND c.role NOT IN ('system-admin', m.role)
        """,
        {"person": person_id},
    )
