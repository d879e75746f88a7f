"""What an OpenID provider says about somebody: e-mail address, and roles in tenants. Pure.

A hospital's administrator gives people groups or app roles such as `argonath:north:admin`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.identity import Role
from gateway.tenancy import TENANT_ID

# From the least to the most that it permits.
RANKS = (Role.VIEWER, Role.MEMBER, Role.ADMIN, Role.OWNER)


@dataclass(frozen=True)
class Stranger:
    """Somebody whom the provider vouches for; `memberships` gives a role by tenant."""

    issuer: str
    subject: str
    email: str
    memberships: Mapping[str, Role] = field(default_factory=dict)
    id_token: str = field(default="", repr=False)


def memberships(claims: Mapping[str, Any], claim: str, prefix: str) -> dict[str, Role]:
    """The role by tenant that the values `PREFIXtenant:role` of a claim give, the highest each.

    Values that are not ours, or that name no role, say nothing. Keycloak writes a group with a
    slash before it.
    """
    found: dict[str, Role] = {}
    for value in _values(claims, claim):
        text = value.removeprefix("/")
        tenant_id, _, word = text.removeprefix(prefix).rpartition(":")
        if not text.startswith(prefix) or not TENANT_ID.fullmatch(tenant_id) or word not in RANKS:
            continue
        role = Role(word)
        if tenant_id not in found or RANKS.index(role) > RANKS.index(found[tenant_id]):
            found[tenant_id] = role
    return found


def email_of(claims: Mapping[str, Any]) -> str:
    """The e-mail address, which Entra may call `preferred_username`; empty when none is told."""
    for name in ("email", "preferred_username"):
        value = str(claims.get(name) or "").strip().lower()
        if "@" in value and len(value) <= 254:
            return value
    return ""


def _values(claims: Mapping[str, Any], claim: str) -> list[str]:
    """The strings of a claim, by its name (which may hold dots) or by a path of names."""
    found: Any = claims.get(claim)
    if found is None:
        found = claims
        for name in claim.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        return found.split()
    return [value for value in found if isinstance(value, str)] if isinstance(found, list) else []
