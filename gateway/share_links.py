"""A study that is shared by a link: whoever has it reads exactly that study, for a while.

Of the link, and of the visit that it opens, a random token of 256 bits is given out and only its
SHA-256 kept. A code, told by another way than the link, opens it once.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import argon2
import psycopg.errors

from gateway import audit, sharing
from gateway.access import Action
from gateway.audit import Record, Verdict
from gateway.db import Database, Row, Session
from gateway.errors import GatewayError, InvalidInput, NotAuthenticated, NotFound
from gateway.identity import Principal, Role, hash_token

LONGEST_VISIT = timedelta(hours=4)
WRONG_CODES_AT_MOST = 10
_DIGITS = 8
_codes = argon2.PasswordHasher()


class LinkEnded(NotFound):
    """This link opens nothing, or nothing any more.

    Ask whoever sent it to you for a new one.
    """


class WrongCode(NotAuthenticated):
    """This code does not open the link.

    A code opens once, and after ten wrong ones the link is closed: ask whoever sent it.
    """


@dataclass(frozen=True)
class NewLink:
    """A link that was just made; token and code cannot be shown again."""

    link_id: int
    token: str = field(repr=False)
    code: str = field(repr=False)


@dataclass(frozen=True)
class Visit:
    """A browser that was let in."""

    token: str = field(repr=False)
    expires_at: datetime


def create(
    session: Session,
    tenant_id: str,
    study_uid: str,
    expires_at: datetime,
    created_by: str,
    *,
    with_code: bool,
) -> NewLink:
    """Make a link to a study of the session's tenant; raises `InvalidInput` or `NotFound`."""
    if not datetime.now(UTC) < expires_at <= datetime.now(UTC) + sharing.LONGEST:
        raise InvalidInput(f"A link ends in the future, after at most {sharing.LONGEST.days} days.")
    token = secrets.token_urlsafe(32)
    code = f"{secrets.randbelow(10**_DIGITS):0{_DIGITS}}" if with_code else ""
    try:
        row = session.execute(
            "INSERT INTO share_link (tenant_id, study_instance_uid, token_hash, code_hash, "
            "expires_at, created_by) VALUES (%s, %s, %s, %s, %s, %s) RETURNING link_id",
            [
                tenant_id,
                study_uid,
                hash_token(token),
                _codes.hash(code) if code else None,
                expires_at,
                created_by,
            ],
        ).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        raise NotFound(f"Study {study_uid}.") from None
    assert row is not None
    return NewLink(int(row["link_id"]), token, code)


def revoke(session: Session, link_id: int) -> str:
    """End a link of the session's tenant, and every visit by it, at once; its study's UID.

    Raises `NotFound`.
    """
    row = session.execute(
        "UPDATE share_link SET revoked_at = now() WHERE link_id = %s AND revoked_at IS NULL "
        "RETURNING study_instance_uid",
        [link_id],
    ).fetchone()
    if row is None:
        raise NotFound("A link that is not revoked yet.")
    return str(row["study_instance_uid"])


def of_study(session: Session, study_uid: str) -> Sequence[Row]:
    """The links of an own study, those that open something (`works`) first."""
    return session.execute(
        "SELECT *, revoked_at IS NULL AND expires_at > now() AND wrong_codes < %s AS works "
        "FROM share_link WHERE study_instance_uid = %s "
        "ORDER BY works DESC, created_at DESC LIMIT 50",
        [WRONG_CODES_AT_MOST, study_uid],
    ).fetchall()


def wants_code(database: Database, token: str, origin: str) -> bool:
    """Whether the link asks for a code; raises `LinkEnded`, which is recorded."""
    with database.system_session("look at a link") as session:
        link = _find(session, token)
        why_not = _why_not(link) if link else ""
        if link and why_not:
            _tell(session, link, origin, "denied", why_not)
    if link is None or why_not:
        raise LinkEnded
    return link["code_hash"] is not None


def visit(database: Database, token: str, code: str, origin: str) -> Visit:
    """Let a browser in, once more or not; raises `LinkEnded` or `WrongCode`."""
    with database.system_session("open a link") as session:
        outcome = _visit(session, token, code, origin)
    if isinstance(outcome, GatewayError):
        raise outcome  # outside of the transaction, which holds what was counted and recorded
    return outcome


def visitor(database: Database, token: str) -> Principal:
    """Who came by a link, bound to its study; raises `NotAuthenticated`."""
    with database.system_session("visit by a link") as session:
        row = session.execute(
            """
            SELECT l.link_id, l.study_instance_uid, v.expires_at
            FROM share_visit v JOIN share_link l USING (link_id)
            JOIN study s ON s.study_instance_uid = l.study_instance_uid
                        AND s.tenant_id = l.tenant_id
            WHERE v.token_hash = %s AND v.expires_at > now() AND l.expires_at > now()
              AND l.revoked_at IS NULL AND l.wrong_codes < %s
            """,
            [hash_token(token), WRONG_CODES_AT_MOST],
        ).fetchone()
    if row is None:
        raise NotAuthenticated("The visit by a link is over.")
    return Principal(
        f"link {row['link_id']}",
        Role.VIEWER,
        None,
        expires_at=row["expires_at"],
        study_uid=row["study_instance_uid"],
    )


def owner_and_study(session: Session, study_uid: str) -> Row | None:
    """What the page of a link shows of its study. System session."""
    return session.execute(
        "SELECT tenant_id, study_instance_uid, patient_id, patient_name, study_date, modalities, "
        "study_description FROM study WHERE study_instance_uid = %s",
        [study_uid],
    ).fetchone()


def _find(session: Session, token: str) -> Row | None:
    return session.execute(
        "SELECT * FROM share_link WHERE token_hash = %s FOR UPDATE", [hash_token(token)]
    ).fetchone()


def _why_not(link: Row) -> str:
    if link["revoked_at"] is not None:
        return "revoked"
    if link["wrong_codes"] >= WRONG_CODES_AT_MOST:
        return "too many wrong codes"
    return "" if datetime.now(UTC) < link["expires_at"] else "expired"


def _visit(session: Session, token: str, code: str, origin: str) -> Visit | GatewayError:
    link = _find(session, token)
    if link is None:
        return LinkEnded()
    if why := _why_not(link):
        _tell(session, link, origin, "denied", why)
        return LinkEnded()
    if link["code_hash"] is not None and (why := _use_code(session, link, code)):
        _tell(session, link, origin, "denied", why)
        return WrongCode()
    opened = secrets.token_urlsafe(32)
    until = min(link["expires_at"], datetime.now(UTC) + LONGEST_VISIT)
    link_id = link["link_id"]
    session.execute("DELETE FROM share_visit WHERE link_id = %s AND expires_at <= now()", [link_id])
    session.execute(
        "INSERT INTO share_visit (token_hash, tenant_id, link_id, expires_at) "
        "VALUES (%s, %s, %s, %s)",
        [hash_token(opened), link["tenant_id"], link_id, until],
    )
    session.execute("UPDATE share_link SET views = views + 1 WHERE link_id = %s", [link_id])
    _tell(session, link, origin, "allowed")
    return Visit(opened, until)


def _use_code(session: Session, link: Row, code: str) -> str:
    """Why the code does not open; empty when it does, which it then did for the last time."""
    if link["code_used_at"] is not None:
        return "the code was used before"
    try:
        _codes.verify(link["code_hash"], code)
    except argon2.exceptions.VerificationError:
        session.execute(
            "UPDATE share_link SET wrong_codes = wrong_codes + 1 WHERE link_id = %s",
            [link["link_id"]],
        )
        return "wrong code"
    session.execute(
        "UPDATE share_link SET code_used_at = now() WHERE link_id = %s", [link["link_id"]]
    )
    return ""


def _tell(session: Session, link: Row, origin: str, verdict: Verdict, detail: str = "") -> None:
    audit.append(
        session,
        Record(
            f"link {link['link_id']}",
            sharing.OPEN,
            f"study {link['study_instance_uid']}",
            verdict,
            link["tenant_id"],
            origin,
            detail,
        ),
    )


def made(link: NewLink, expires_at: datetime) -> tuple[str, str]:
    """Action and detail of the audit's record that a link was made."""
    code = ", with a code" if link.code else ""
    until = expires_at.astimezone(UTC)
    return Action.SHARE_STUDY, f"by link {link.link_id}{code}, until {until:%Y-%m-%dT%H:%MZ}"
