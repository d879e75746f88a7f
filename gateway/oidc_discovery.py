"""What the OpenID provider publishes: metadata and keys, fetched when needed and then cached.

OpenID Connect Discovery 1.0; joserfc checks the signatures (RFC 7515).
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jwt import Token

from gateway.errors import GatewayError, NotAuthenticated

# Signed by a private key of the provider's; never a shared secret, never unsigned.
ALGORITHMS = [kind + bits for kind in ("RS", "PS", "ES") for bits in ("256", "384", "512")]
KEYS_HOLD_S = 3600.0
PAUSE_S = 5.0
TIMEOUT_S = 3.0


class ProviderUnavailable(GatewayError):
    """The OpenID provider does not answer.

    Try again in some seconds, or sign in with a password or an API key; a system admin finds the
    provider's address in the setting `oidc_issuer`.
    """

    http_status = 503
    permanent = False


@dataclass(frozen=True)
class _Published:
    """What the provider publishes, and until when it is believed (on our clock)."""

    metadata: Mapping[str, Any]
    keys: KeySet
    until: float

    def has(self, kid: str | None) -> bool:
        return kid is None or any(key.kid == kid for key in self.keys)


class Discovery:
    """The documents of one issuer, believed for an hour.

    A key that is not known is looked for at most once in `PAUSE_S`, and refused in between, so that
    a rotation is noticed and nobody makes us ask in a loop. Only who lacks a key waits for a fetch.
    """

    def __init__(
        self,
        issuer: str,
        *,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.issuer = issuer
        self._clock = clock
        # The machine's certificates, where a hospital's own authority is known too.
        self.http = httpx.Client(
            timeout=TIMEOUT_S, transport=transport, verify=ssl.create_default_context()
        )
        self._fetching = threading.Lock()
        self._known: _Published | None = None
        self._next_fetch = clock()
        self._failed = False

    def metadata(self) -> Mapping[str, Any]:
        """The provider's metadata; raises `ProviderUnavailable`."""
        return self._published().metadata

    def signed(self, token: str) -> Token:
        """A token whose signature holds; raises `NotAuthenticated` or `ProviderUnavailable`."""
        header, claims = _unverified(token)
        if claims.get("iss") != self.issuer or not isinstance(header.get("kid"), str):
            raise NotAuthenticated("The token is not of this gateway's OpenID provider.")
        published = self._published(header["kid"])
        try:
            return jwt.decode(token, published.keys, ALGORITHMS)
        except (JoseError, ValueError):
            raise NotAuthenticated("The token's signature does not hold.") from None

    def _published(self, kid: str | None = None) -> _Published:
        """What is known, fetched anew when it is old or lacks the key `kid`.

        A key may still be missing in what comes back. Raises `ProviderUnavailable`.
        """
        known = self._known
        if known and known.until > self._clock() and known.has(kid):
            return known
        with self._fetching:
            known, now = self._known, self._clock()
            fresh = known is not None and known.until > now
            if known and fresh and known.has(kid):
                return known  # fetched by another while we waited
            if now < self._next_fetch:
                if known and fresh and not self._failed:
                    return known
                raise ProviderUnavailable
            try:
                self._known = known = self._fetch()
                self._failed = False
            except ProviderUnavailable:
                self._failed = True
                raise
            finally:
                self._next_fetch = self._clock() + PAUSE_S
            return known

    def _fetch(self) -> _Published:
        issuer = self.issuer
        metadata = self.json(issuer.rstrip("/") + "/.well-known/openid-configuration")
        if metadata.get("issuer") != issuer:
            raise ProviderUnavailable("Its metadata name another issuer than `oidc_issuer`.")
        try:
            # A kind of key that is not known here must not cost us the others.
            usable = [
                key
                for key in self.json(metadata["jwks_uri"])["keys"]
                if key.get("kty") in ("RSA", "EC") and key.get("use", "sig") == "sig"
            ]
            keys = KeySet.import_key_set({"keys": usable})
        except (JoseError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise ProviderUnavailable("Its keys cannot be read.") from error
        return _Published(metadata, keys, self._clock() + KEYS_HOLD_S)

    def json(self, url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        try:
            answer = self.http.get(url, headers=headers or {}).raise_for_status().json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise ProviderUnavailable(type(error).__name__) from error
        if not isinstance(answer, dict):
            raise ProviderUnavailable("Its answer is no JSON object.")
        return answer


def _unverified(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims as the token says them, before anything is believed."""
    try:
        parts = [json.loads(_base64(part)) for part in token.split(".")[:2]]
    except ValueError:
        parts = []
    if len(parts) != 2 or not all(isinstance(part, dict) for part in parts):
        raise NotAuthenticated("The token cannot be read.")
    return parts[0], parts[1]


def _base64(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
