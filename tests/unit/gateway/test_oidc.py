"""The OpenID provider as we judge it; a stand-in answers, and signs with real keys."""

from __future__ import annotations

import base64
import hmac
import json
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from gateway.errors import InvalidSettings, NotAuthenticated
from gateway.oidc import Attempt, Provider, SignInRefused
from gateway.oidc_discovery import KEYS_HOLD_S, PAUSE_S, Discovery, ProviderUnavailable
from gateway.settings import Settings

ISSUER = "https://id.hospital.example/realm"
CALLBACK = "https://pacs.hospital.example/oidc/callback"
SETTINGS = Settings(
    oidc_issuer=ISSUER, oidc_client_id="portal", oidc_client_secret="s", oidc_audience="dicomweb"
)
ATTEMPT = Attempt("state", "nonce", "verifier")
ANSWER = {"state": "state", "code": "code"}


class StandIn:
    """A provider of one key; `down` makes it fail."""

    def __init__(self) -> None:
        self.down = False
        self.fetched = 0
        self.now = 0.0
        self.metadata: dict[str, Any] = {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/auth",
            "token_endpoint": f"{ISSUER}/token",
            "jwks_uri": f"{ISSUER}/jwks",
            "end_session_endpoint": f"{ISSUER}/end",
        }
        self.id_claims: dict[str, Any] = {}
        self.posted: list[httpx.Request] = []
        self.rotate()
        discovery = Discovery(
            ISSUER, transport=httpx.MockTransport(self.answer), clock=lambda: self.now
        )
        self.provider = Provider(SETTINGS, discovery)

    def rotate(self) -> None:
        self.key = RSAKey.generate_key(2048, auto_kid=True)

    def answer(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("refused")
        path = request.url.path.removeprefix("/realm")
        if path == "/jwks":
            self.fetched += 1
            return httpx.Response(200, json=KeySet([self.key]).as_dict())
        if path == "/token":
            self.posted.append(request)
            signed = self.sign(aud="portal", nonce="nonce", **self.id_claims)
            return httpx.Response(200, json={"access_token": "a", "id_token": signed})
        return httpx.Response(200, json=self.metadata)

    def sign(self, *, typ: str = "JWT", **claims: Any) -> str:
        now = int(time.time())
        whole = {"iss": ISSUER, "sub": "ada", "aud": "dicomweb", "iat": now, "exp": now + 60}
        header = {"alg": "RS256", "kid": self.key.kid, "typ": typ}
        wanted = {name: value for name, value in (whole | claims).items() if value is not None}
        return jwt.encode(header, wanted, self.key, ["RS256"])


@pytest.fixture
def there() -> StandIn:
    return StandIn()


def test_signing_in_begins_with_state_nonce_and_a_s256_challenge(there: StandIn) -> None:
    url, attempt = there.provider.begin(CALLBACK)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert url.startswith(f"{ISSUER}/auth?")
    assert asked["response_type"] == "code"
    assert asked["redirect_uri"] == CALLBACK
    assert (asked["state"], asked["nonce"]) == (attempt.state, attempt.nonce)
    assert asked["code_challenge_method"] == "S256"
    assert attempt.verifier not in url
    assert there.provider.begin(CALLBACK)[1] != attempt


def test_who_comes_back_is_who_the_id_token_says(there: StandIn) -> None:
    there.id_claims = {"email": "Ada@hospital.example", "groups": ["argonath:north:admin"]}
    stranger = there.provider.finish(ATTEMPT, ANSWER, CALLBACK)
    assert (stranger.issuer, stranger.subject) == (ISSUER, "ada")
    assert stranger.email == "ada@hospital.example"
    assert stranger.memberships == {"north": "admin"}
    sent = parse_qs(there.posted[0].content.decode())
    assert sent["code_verifier"] == ["verifier"]
    assert there.posted[0].headers["Authorization"].startswith("Basic ")


@pytest.mark.parametrize(
    "wrong",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "another client"},
        {"aud": ["portal", "another"], "azp": "another"},
        {"iss": "https://elsewhere.example"},
        {"exp": 1},
        {"sub": None},
        {"at_hash": "of another token"},
    ],
)
def test_an_id_token_that_is_not_for_this_attempt_signs_nobody_in(
    there: StandIn, wrong: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = there.sign
    monkeypatch.setattr(there, "sign", lambda **claims: honest(**(claims | wrong)))
    with pytest.raises(SignInRefused):
        there.provider.finish(ATTEMPT, ANSWER, CALLBACK)


@pytest.mark.parametrize(
    "answer",
    [
        {"state": "another", "code": "code"},
        {"code": "code"},
        {"state": "state", "code": "code", "iss": "https://elsewhere.example"},
        {"state": "state", "error": "access_denied"},
    ],
)
def test_an_answer_to_another_question_is_not_even_exchanged(
    there: StandIn, answer: dict[str, str]
) -> None:
    with pytest.raises(SignInRefused):
        there.provider.finish(ATTEMPT, answer, CALLBACK)
    assert there.posted == []


def test_an_access_token_for_us_is_believed(there: StandIn) -> None:
    assert there.provider.access_claims(there.sign())["sub"] == "ada"
    both = there.sign(typ="at+jwt", aud=["dicomweb", "another"])
    assert there.provider.access_claims(both)["sub"] == "ada"


@pytest.mark.parametrize(
    "wrong",
    [
        {"aud": "another"},
        {"aud": None},
        {"iss": "https://elsewhere.example"},
        {"exp": 1},
        {"exp": None},
        {"sub": None},
        {"nbf": 9999999999},
        {"nonce": "an ID token"},
    ],
)
def test_an_access_token_that_is_not_for_us_is_refused(
    there: StandIn, wrong: dict[str, Any]
) -> None:
    with pytest.raises(NotAuthenticated):
        there.provider.access_claims(there.sign(**wrong))


def shared_secret(there: StandIn) -> str:
    """The public key used as if it were a secret (RFC 8725, section 2.1)."""
    header = {"alg": "HS256", "kid": there.key.kid}
    claims = {"iss": ISSUER, "sub": "eve", "aud": "dicomweb", "exp": 9999999999}
    text = b".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
    seal = hmac.digest(there.key.as_pem(private=False), text, "sha256")
    return b".".join((text, encoded(seal))).decode()


def encoded(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def unsigned(there: StandIn) -> str:
    _head, body, _seal = there.sign().split(".")
    header = encoded(json.dumps({"alg": "none", "kid": there.key.kid}).encode()).decode()
    return f"{header}.{body}."


def of_another_key(there: StandIn) -> str:
    kid, there.key = there.key.kid, RSAKey.generate_key(2048)
    claims = {"iss": ISSUER, "sub": "eve", "aud": "dicomweb", "exp": 9999999999}
    return jwt.encode({"alg": "RS256", "kid": kid}, claims, there.key, ["RS256"])


@pytest.mark.parametrize("forge", [shared_secret, unsigned, of_another_key, lambda _: "a.b.c"])
def test_what_the_provider_has_not_signed_is_refused(
    there: StandIn, forge: Callable[[StandIn], str]
) -> None:
    there.provider.access_claims(there.sign())  # the true key is known
    with pytest.raises(NotAuthenticated):
        there.provider.access_claims(forge(there))


def test_keys_are_fetched_once_and_again_after_an_hour(there: StandIn) -> None:
    for _ in range(3):
        there.provider.access_claims(there.sign())
    assert there.fetched == 1
    there.now += KEYS_HOLD_S + 1
    there.provider.access_claims(there.sign())
    assert there.fetched == 2


def test_an_unknown_key_is_looked_for_once_in_a_pause(there: StandIn) -> None:
    there.provider.access_claims(there.sign())
    there.now += PAUSE_S + 1
    there.rotate()
    new = there.sign()
    assert there.provider.access_claims(new)["sub"] == "ada"
    assert there.fetched == 2
    published = there.key
    there.rotate()
    strange = there.sign()
    there.key = published
    for _ in range(5):
        with pytest.raises(NotAuthenticated):
            there.provider.access_claims(strange)
    assert there.fetched == 2
    there.now += PAUSE_S + 1
    with pytest.raises(NotAuthenticated):
        there.provider.access_claims(strange)
    assert there.fetched == 3


def test_while_the_provider_is_down_known_keys_hold_and_unknown_ones_open_nothing(
    there: StandIn,
) -> None:
    known = there.sign()
    there.provider.access_claims(known)
    there.now += PAUSE_S + 1
    there.down = True
    assert there.provider.access_claims(known)["sub"] == "ada"
    there.rotate()
    for _ in range(2):
        with pytest.raises(ProviderUnavailable):
            there.provider.access_claims(there.sign())
    there.now += KEYS_HOLD_S
    with pytest.raises(ProviderUnavailable):
        there.provider.access_claims(known)


def test_who_brings_a_known_key_does_not_wait_for_a_fetch(there: StandIn) -> None:
    known = there.sign()
    there.provider.access_claims(known)
    there.now += PAUSE_S + 1
    asked, go_on = threading.Event(), threading.Event()
    honest = there.answer

    def slow(request: httpx.Request) -> httpx.Response:
        asked.set()
        assert go_on.wait(10)
        return honest(request)

    there.provider._discovery.http = httpx.Client(transport=httpx.MockTransport(slow))
    there.rotate()
    unknown = there.sign()
    other = threading.Thread(target=lambda: there.provider.access_claims(unknown))
    other.start()
    assert asked.wait(10)
    assert there.provider.access_claims(known)["sub"] == "ada"
    assert other.is_alive()
    go_on.set()
    other.join(10)


def test_another_issuers_metadata_are_not_believed(there: StandIn) -> None:
    there.metadata["issuer"] = "https://elsewhere.example"
    with pytest.raises(ProviderUnavailable, match="another issuer"):
        there.provider.begin(CALLBACK)


def test_a_kind_of_key_that_we_do_not_know_does_not_cost_the_others(there: StandIn) -> None:
    honest = there.answer

    def more(request: httpx.Request) -> httpx.Response:
        answer = honest(request)
        if request.url.path.endswith("/jwks"):
            keys = [{"kty": "AKP", "kid": "future", "alg": "ML-DSA-44", "pub": "x"}]
            answer = httpx.Response(200, json={"keys": [*keys, *answer.json()["keys"]]})
        return answer

    there.provider._discovery.http = httpx.Client(transport=httpx.MockTransport(more))
    assert there.provider.access_claims(there.sign())["sub"] == "ada"


def test_leaving_ends_the_session_there_with_the_id_token(there: StandIn) -> None:
    url = there.provider.end_session_url("token", "https://pacs.hospital.example/sign-in")
    assert url is not None
    asked = parse_qs(urlsplit(url).query)
    assert asked["id_token_hint"] == ["token"]
    assert asked["post_logout_redirect_uri"] == ["https://pacs.hospital.example/sign-in"]
    there.metadata.pop("end_session_endpoint")
    there.now += KEYS_HOLD_S + 1
    assert there.provider.end_session_url("token", "/") is None


def test_a_provider_in_the_clear_or_without_client_is_no_setting() -> None:
    with pytest.raises(InvalidSettings, match="https"):
        Provider.of(Settings(oidc_issuer="http://id.hospital.example", oidc_client_id="portal"))
    with pytest.raises(InvalidSettings, match="CLIENT_ID"):
        Provider.of(Settings(oidc_issuer=ISSUER))
    assert Provider.of(Settings()) is None
