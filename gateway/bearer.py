"""Whose token it is: an API key or session of ours, or an access token of the OpenID provider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from gateway import identity
from gateway.db import Database
from gateway.errors import NotAllowed, NotAuthenticated
from gateway.identity import NoMembership, Principal, Role
from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.oidc import Provider

TENANT_HEADER = "Argonath-Tenant"


class TenantNotChosen(NotAllowed):
    """The access token is for several tenants, and none of them was chosen.

    Send the header `Argonath-Tenant` with the name of one that the token gives.
    """


@dataclass(frozen=True)
class Authenticator:
    """Finds the principal of a token."""

    database: Database
    settings: Settings
    provider: Provider | None = None

    @classmethod
    def of(cls, settings: Settings, database: Database) -> Self:
        """As the settings say; raises `InvalidSettings`."""
        if not settings.oidc_issuer:
            return cls(database, settings)
        from gateway.oidc import Provider

        return cls(database, settings, Provider.of(settings))

    def __call__(self, token: str, tenant_id: str = "") -> Principal:
        """Whose token it is; of one for several tenants `tenant_id` chooses.

        Raises `NotAuthenticated`, `NotAllowed`, `ProviderUnavailable` or `DatabaseUnavailable`.
        """
        if self.provider is None or token.count(".") != 2:  # ours hold no dot
            return identity.authenticate(self.database, token)
        claims = self.provider.access_claims(token)
        expires_at = datetime.fromtimestamp(claims["exp"], UTC)
        if expires_at <= datetime.now(UTC):
            raise NotAuthenticated("The access token has expired.")
        given = self._memberships(claims)
        tenant_id, role = choose(given, tenant_id)
        return Principal(name_of(claims), role, tenant_id, expires_at=expires_at)

    def _memberships(self, claims: Mapping[str, Any]) -> dict[str, Role]:
        from gateway import oidc_claims, oidc_people

        said = oidc_claims.memberships(claims, self.settings.oidc_claim, self.settings.oidc_prefix)
        with self.database.system_session("access token") as session:
            if not oidc_people.may_sign_in(session, claims["iss"], claims["sub"]):
                raise NotAuthenticated("This user may not sign in.")
            return oidc_people.existing(session, said)


def choose(given: Mapping[str, Role], wanted: str) -> tuple[str, Role]:
    """The tenant of a request, and the role there; raises `NoMembership` or `TenantNotChosen`."""
    if not given:
        raise NoMembership
    tenant_id = wanted or (next(iter(given)) if len(given) == 1 else "")
    if tenant_id not in given:
        raise TenantNotChosen(f"It gives: {', '.join(sorted(given))}.")
    return tenant_id, given[tenant_id]


def name_of(claims: Mapping[str, Any]) -> str:
    """How the audit names the bearer: by e-mail address, else as the provider does."""
    from gateway.oidc_claims import email_of

    return email_of(claims) or f"oidc {claims['sub']}"[:254]
