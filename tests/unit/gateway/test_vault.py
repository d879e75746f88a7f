from __future__ import annotations

import pytest

from gateway import vault
from gateway.errors import InvalidSettings, SecretUnreadable


def test_a_secret_comes_back_with_its_key_alone() -> None:
    sealed = vault.seal("key", "hush")
    assert "hush" not in sealed
    assert vault.unseal("key", sealed) == "hush"
    with pytest.raises(SecretUnreadable):
        vault.unseal("another key", sealed)


def test_the_same_secret_never_looks_the_same() -> None:
    assert vault.seal("key", "hush") != vault.seal("key", "hush")


def test_what_looks_sealed_is_a_secret_like_any_other() -> None:
    assert vault.unseal("key", vault.seal("key", "sealed:x")) == "sealed:x"


def test_nothing_is_sealed_without_a_key() -> None:
    with pytest.raises(InvalidSettings, match="ENCRYPTION_KEY"):
        vault.seal("", "hush")


def test_what_was_stored_before_there_was_a_key_is_still_read() -> None:
    assert vault.unseal("key", "hush") == "hush"
