"""Secrets of others at rest: a destination's token is sealed in its row, opened where it is used.

Fernet (AES-128-CBC and HMAC-SHA-256); the key lies beside the database, never in it.
"""

from __future__ import annotations

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken

from gateway.errors import InvalidSettings, SecretUnreadable

_MARK = "sealed:"


def seal(key: str, secret: str) -> str:
    """`secret` as only the holder of `key` can read it; raises `InvalidSettings` without one."""
    if not key:
        raise InvalidSettings("ARGONATH_ENCRYPTION_KEY: it is needed to keep a secret")
    return _MARK + _fernet(key).encrypt(secret.encode()).decode()


def unseal(key: str, stored: str) -> str:
    """What was sealed; raises `SecretUnreadable`. What was never sealed comes back as it is."""
    if not stored.startswith(_MARK):
        return stored
    try:
        return _fernet(key).decrypt(stored.removeprefix(_MARK)).decode()
    except InvalidToken:
        raise SecretUnreadable from None


def _fernet(key: str) -> Fernet:
    # Any random text is a key, as with the other secrets; Fernet wants exactly 32 bytes.
    return Fernet(base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest()))
