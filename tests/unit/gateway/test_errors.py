"""One family of errors: message, cure, status, retry."""

from __future__ import annotations

import pytest

from gateway import errors
from gateway.errors import GatewayError

FAMILY = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, GatewayError)
]


@pytest.mark.parametrize("kind", FAMILY, ids=lambda kind: kind.__name__)
def test_every_error_tells_what_happened_and_the_cure(kind: type[GatewayError]) -> None:
    error = kind("Detail.")
    assert error.message.endswith("Detail.")
    assert error.cure.endswith(".")
    assert 400 <= error.http_status < 600
    assert 0x0100 <= error.dimse_status <= 0xFFFF


def test_the_json_shape_says_whether_trying_again_helps() -> None:
    assert errors.ArchiveUnavailable("X.").as_json() == {
        "error": "ArchiveUnavailable",
        "message": "The archive does not answer. X.",
        "cure": "It is restarted by itself; try again in some seconds.",
        "retry": True,
    }
