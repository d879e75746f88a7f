"""A study that is shared: read-only, for a while, and always exactly that study.

One row for each share decides (`schema/0007_sharing.sql`). The node keeps those that are live in
memory, is told of each change, and looks at the clock whenever it uses one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Self
from uuid import UUID

import psycopg.errors

from gateway import audit
from gateway.access import Action
from gateway.audit import Record, Verdict
from gateway.db import Row, Session
from gateway.errors import GatewayError, InvalidInput, NotFound

LONGEST = timedelta(days=365)
OPEN, REVOKE = "open-share", "revoke-share"
# Reads by the same person within it are one view.
VISIT = timedelta(minutes=10)
# So long is it told that somebody asks for what was shared and is not any more.
_ENDED_IS_KNOWN = timedelta(days=1)


class UnknownAddress(GatewayError):
    """Nobody has this sharing address.

    Ask the other side for the present one: their admins find it at Studies, Sharing with others.
    """

    http_status = 404


@dataclass(frozen=True)
class Share:
    """One share: whose study, with which tenant, until when."""

    share_id: int
    tenant_id: str
    study_instance_uid: str
    with_tenant_id: str
    expires_at: datetime
    revoked: bool = False

    @classmethod
    def of(cls, row: Row) -> Self:
        """From a row that holds more than the share."""
        return cls(**{it.name: row[it.name] for it in fields(cls) if it.name in row})

    def why_not(self, now: datetime) -> str:
        """Why the study may not be read by it; empty when it may."""
        if self.revoked:
            return "revoked"
        return "" if now < self.expires_at else "expired"


class Shares:
    """The shares that the node knows, by the tenant that receives; immutable."""

    def __init__(self, shares: Iterable[Share] = ()) -> None:
        self._of: dict[str, dict[str, Share]] = {}
        # Of two with the same tenant the one that ends last counts, and a revoked one least.
        for share in sorted(shares, key=lambda it: (not it.revoked, it.expires_at)):
            self._of.setdefault(share.with_tenant_id, {})[share.study_instance_uid] = share

    @classmethod
    def load(cls, session: Session) -> Self:
        """Those that are live, and those that ended of late. System session."""
        rows = session.execute(
            "SELECT share_id, tenant_id, study_instance_uid, with_tenant_id, expires_at, "
            "revoked_at IS NOT NULL AS revoked FROM study_share "
            "WHERE least(expires_at, revoked_at) > now() - %s",
            [_ENDED_IS_KNOWN],
        )
        return cls(Share(**row) for row in rows)

    def with_tenant(self, tenant_id: str) -> Mapping[str, Share]:
        """By StudyInstanceUID; also such as have ended."""
        return self._of.get(tenant_id, {})


def share(
    session: Session,
    tenant_id: str,
    study_uid: str,
    address: str,
    expires_at: datetime,
    created_by: str,
) -> Share:
    """Share a study of the session's tenant with whose sharing address it is.

    A live share gets the new expiry. Raises `InvalidInput`, `UnknownAddress`, and `NotFound` for
    a study that is not there.
    """
    if not datetime.now(UTC) < expires_at <= datetime.now(UTC) + LONGEST:
        raise InvalidInput(f"A share ends in the future, after at most {LONGEST.days} days.")
    with_tenant_id = _tenant_at(session, address)
    if with_tenant_id == tenant_id:
        raise InvalidInput("This is your own sharing address: ask the other side for theirs.")
    try:
        row = session.execute(
            """
            INSERT INTO study_share (tenant_id, study_instance_uid, with_tenant_id, expires_at,
                                     created_by)
            VALUES (%s, %s, %s, %s, %s)
            ON CONFLICT (study_instance_uid, with_tenant_id) WHERE revoked_at IS NULL
            DO UPDATE SET expires_at = excluded.expires_at
            RETURNING share_id
            """,
            [tenant_id, study_uid, with_tenant_id, expires_at, created_by],
        ).fetchone()
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ForeignKeyViolation):
        raise NotFound(f"Study {study_uid}.") from None
    assert row is not None
    return Share(int(row["share_id"]), tenant_id, study_uid, with_tenant_id, expires_at)


def address_of(session: Session, tenant_id: str) -> str:
    """The sharing address of the session's tenant, for its admins to pass on; a UUID."""
    row = session.execute(
        "SELECT sharing_address FROM tenant WHERE tenant_id = %s", [tenant_id]
    ).fetchone()
    if row is None:
        raise NotFound(f"Tenant {tenant_id!r}.")
    return str(row["sharing_address"])


def renew_address(session: Session, tenant_id: str) -> None:
    """Give the session's tenant another sharing address; what was shared by the old one stays."""
    session.execute(
        "UPDATE tenant SET sharing_address = gen_random_uuid() WHERE tenant_id = %s", [tenant_id]
    )


def _tenant_at(session: Session, address: str) -> str:
    try:
        wanted = UUID(address.strip())
    except ValueError:
        raise UnknownAddress from None
    row = session.execute("SELECT tenant_at(%s) AS tenant_id", [wanted]).fetchone()
    if row is None or row["tenant_id"] is None:
        raise UnknownAddress
    return str(row["tenant_id"])


def revoke(session: Session, share_id: int) -> Share:
    """End a share of the session's tenant at once, on every node; raises `NotFound`."""
    row = session.execute(
        "UPDATE study_share SET revoked_at = now() WHERE share_id = %s AND revoked_at IS NULL "
        "RETURNING share_id, tenant_id, study_instance_uid, with_tenant_id, expires_at, "
        "true AS revoked",
        [share_id],
    ).fetchone()
    if row is None:
        raise NotFound("A share that is not revoked yet.")
    return Share(**row)


def of_study(session: Session, tenant_id: str, study_uid: str) -> Sequence[Row]:
    """The shares of an own study, the live ones (`works`) first."""
    return session.execute(
        "SELECT *, revoked_at IS NULL AND expires_at > now() AS works FROM study_share "
        "WHERE tenant_id = %s AND study_instance_uid = %s "
        "ORDER BY works DESC, created_at DESC LIMIT 50",
        [tenant_id, study_uid],
    ).fetchall()


def received(session: Session, study_uid: str | None = None) -> Sequence[Row]:
    """The studies that are shared with the session's tenant now, or one of them."""
    return session.execute(
        "SELECT * FROM studies_shared_with_us() "
        "WHERE %(uid)s::text IS NULL OR study_instance_uid = %(uid)s ORDER BY expires_at DESC",
        {"uid": study_uid},
    ).fetchall()


def viewed(session: Session, share: Share, who: str, origin: str) -> None:
    """Count a view and tell both tenants, once for each visit of somebody. System session."""
    # Whoever else counts views of this share waits here.
    session.execute("SELECT FROM study_share WHERE share_id = %s FOR UPDATE", [share.share_id])
    seen = session.execute(
        "SELECT FROM audit WHERE resource = %s AND action = %s AND actor = %s AND tenant_id = %s "
        "AND verdict = 'allowed' AND at > now() - %s LIMIT 1",
        [f"study {share.study_instance_uid}", OPEN, who, share.tenant_id, VISIT],
    ).fetchone()
    if seen is None:
        session.execute(
            "UPDATE study_share SET views = views + 1 WHERE share_id = %s", [share.share_id]
        )
        tell(session, share, OPEN, who, origin)


def tell(
    session: Session,
    share: Share,
    action: str,
    who: str,
    origin: str,
    *,
    verdict: Verdict = "allowed",
    detail: str = "",
) -> None:
    """Record for the owner and for the receiver what was done with a share."""
    views = (
        (share.tenant_id, f"with tenant {share.with_tenant_id}"),
        (share.with_tenant_id, f"from tenant {share.tenant_id}"),
    )
    audit.append_all(
        session,
        [
            Record(
                who,
                action,
                f"study {share.study_instance_uid}",
                verdict,
                tenant_id,
                origin,
                f"{other}; {detail}" if detail else other,
            )
            for tenant_id, other in views
        ],
    )


def shared(session: Session, share: Share, who: str, origin: str) -> None:
    """Record that a study was shared."""
    until = f"until {share.expires_at.astimezone(UTC):%Y-%m-%dT%H:%MZ}"
    tell(session, share, Action.SHARE_STUDY, who, origin, detail=until)
