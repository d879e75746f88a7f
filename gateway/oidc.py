"""The OpenID provider: how people sign in there, and which of its access tokens are for us.

OpenID Connect Core 1.0 with PKCE (RFC 7636), RP-Initiated Logout 1.0, RFC 9068. Authlib speaks
OAuth 2 and judges ID tokens.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

import httpx
from authlib.oauth2 import ClientAuth, OAuth2Client, OAuth2Error
from authlib.oidc.core import CodeIDToken
from joserfc.errors import JoseError
from joserfc.jwt import JWTClaimsRegistry

from gateway import oidc_claims
from gateway.errors import GatewayError, InvalidSettings, NotAuthenticated
from gateway.oidc_claims import Stranger
from gateway.oidc_discovery import Discovery, ProviderUnavailable
from gateway.settings import Settings

LEEWAY_S = 30


class SignInRefused(GatewayError):
    """Signing in at the OpenID provider did not succeed.

    Start again from the sign-in page, in one window only; if it happens again, ask whoever manages
    your account at the provider.
    """

    http_status = 403


@dataclass(frozen=True)
class Attempt:
    """What the browser that began to sign in must bring back; kept in its signed cookie."""

    state: str
    nonce: str
    verifier: str


class Provider:
    """One OpenID provider, at which people sign in and which signs access tokens."""

    def __init__(self, settings: Settings, discovery: Discovery) -> None:
        self._settings = settings
        self._discovery = discovery

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """The provider of an installation that has one; raises `InvalidSettings`."""
        if not settings.oidc_issuer:
            return None
        address = urlsplit(settings.oidc_issuer)
        if address.scheme != "https" and address.hostname not in ("localhost", "127.0.0.1"):
            raise InvalidSettings("ARGONATH_OIDC_ISSUER: it must begin with https://")
        if not settings.oidc_client_id:
            raise InvalidSettings("ARGONATH_OIDC_CLIENT_ID: the provider knows the portal by it")
        return cls(settings, Discovery(settings.oidc_issuer))

    def begin(self, redirect_uri: str) -> tuple[str, Attempt]:
        """Where to send somebody to sign in, and what they must come back with."""
        attempt = Attempt(*(secrets.token_urlsafe(32) for _ in range(3)))
        url, _state = self._client(redirect_uri).create_authorization_url(
            self._discovery.metadata()["authorization_endpoint"],
            state=attempt.state,
            nonce=attempt.nonce,
            code_verifier=attempt.verifier,
        )
        return str(url), attempt

    def finish(self, attempt: Attempt, answer: Mapping[str, str], redirect_uri: str) -> Stranger:
        """Who signed in, of the parameters with which the provider sent them back.

        Raises `SignInRefused` or `ProviderUnavailable`.
        """
        issuer = self._settings.oidc_issuer
        if not hmac.compare_digest(answer.get("state", "").encode(), attempt.state.encode()):
            raise SignInRefused("The answer belongs to another attempt.")
        if answer.get("iss", issuer) != issuer:  # RFC 9207
            raise SignInRefused("The answer is another provider's.")
        if "code" not in answer:
            raise SignInRefused(f"The provider says: {answer.get('error', 'nothing')[:80]}.")
        tokens = self._exchange(answer["code"], attempt, redirect_uri)
        claims = self._identity(tokens, attempt.nonce)
        settings = self._settings
        return Stranger(
            issuer,
            str(claims["sub"]),
            oidc_claims.email_of(claims),
            oidc_claims.memberships(claims, settings.oidc_claim, settings.oidc_prefix),
            str(tokens["id_token"]),
        )

    def access_claims(self, token: str) -> Mapping[str, Any]:
        """The claims of an access token for us (RFC 9068).

        Raises `NotAuthenticated` or `ProviderUnavailable`.
        """
        if not self._settings.oidc_audience:
            raise NotAuthenticated("This gateway takes no access tokens of the OpenID provider.")
        found = self._discovery.signed(token)
        audience = self._settings.oidc_audience
        wanted = JWTClaimsRegistry(
            leeway=LEEWAY_S,
            iss={"essential": True, "value": self._settings.oidc_issuer},
            aud={"essential": True, "value": audience},
            sub={"essential": True},
            exp={"essential": True},
        )
        try:
            wanted.validate(found.claims)
        except JoseError as error:
            raise NotAuthenticated(f"The access token is not valid: {error}.") from None
        is_access = str(found.header.get("typ", "")).lower().endswith("at+jwt")
        if not is_access and found.claims.keys() & {"nonce", "at_hash"}:
            raise NotAuthenticated("This is an ID token; an access token is needed.")
        return found.claims

    def end_session_url(self, id_token: str, return_to: str) -> str | None:
        """Where a person's session at the provider ends; None when it offers no such place."""
        endpoint = self._discovery.metadata().get("end_session_endpoint")
        if not endpoint:
            return None
        asked = {
            "id_token_hint": id_token,
            "client_id": self._settings.oidc_client_id,
            "post_logout_redirect_uri": return_to,
        }
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"

    def _client(self, redirect_uri: str) -> Any:
        known = self._discovery.metadata()
        methods = known.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        method = "client_secret_basic"
        if not self._settings.oidc_client_secret:
            method = "none"
        elif method not in methods:
            method = "client_secret_post"
        return OAuth2Client(
            _Session(self._discovery.http),
            self._settings.oidc_client_id,
            self._settings.oidc_client_secret or None,
            token_endpoint_auth_method=method,
            scope=self._settings.oidc_scope,
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
        )

    def _exchange(self, code: str, attempt: Attempt, redirect_uri: str) -> Mapping[str, Any]:
        try:
            tokens = self._client(redirect_uri).fetch_token(
                self._discovery.metadata()["token_endpoint"],
                grant_type="authorization_code",
                code=code,
                code_verifier=attempt.verifier,
            )
        except OAuth2Error as error:
            raise SignInRefused(f"The provider says: {error.error}.") from None
        except (httpx.HTTPError, ValueError) as error:
            raise ProviderUnavailable(type(error).__name__) from error
        if not isinstance(tokens.get("id_token"), str):
            raise SignInRefused("The provider sent no ID token.")
        return tokens  # type: ignore[no-any-return]

    def _identity(self, tokens: Mapping[str, Any], nonce: str) -> Mapping[str, Any]:
        """The claims of the ID token, and those that only the userinfo endpoint tells."""
        settings = self._settings
        try:
            found = self._discovery.signed(tokens["id_token"])
            claims = CodeIDToken(
                found.claims,
                found.header,
                {"iss": {"value": settings.oidc_issuer}, "aud": {"value": settings.oidc_client_id}},
                {
                    "nonce": nonce,
                    "client_id": settings.oidc_client_id,
                    "access_token": tokens.get("access_token"),
                },
            )
            claims.validate(leeway=LEEWAY_S)
        except (JoseError, NotAuthenticated) as error:
            raise SignInRefused(f"The ID token is not valid: {error}") from None
        endpoint = self._discovery.metadata().get("userinfo_endpoint")
        told_all = settings.oidc_claim.partition(".")[0] in claims and oidc_claims.email_of(claims)
        if told_all or not endpoint:
            return dict(claims)
        told = self._discovery.json(
            endpoint, {"Authorization": f"Bearer {tokens.get('access_token')}"}
        )
        if told.get("sub") != claims["sub"]:  # Core, section 5.3.2
            raise SignInRefused("The provider's answers are about two people.")
        return {**told, **claims}


class _Session:
    """What Authlib's client wants of a session (requests' way), on httpx."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def post(
        self, url: str, *, data: Mapping[str, str], headers: Mapping[str, str], auth: ClientAuth
    ) -> httpx.Response:
        address, prepared, body = auth.prepare("POST", url, dict(headers), urlencode(data))
        return self._http.post(address, content=body, headers=prepared)
