from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from extensions.routing.sending.sender_s3 import _is_kept

FILE = b"DICM"
SHA = base64.b64encode(hashlib.sha256(FILE).digest()).decode()
MD5 = hashlib.md5(FILE).hexdigest()


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ({"ChecksumSHA256": SHA, "ETag": '"whatever"'}, True),
        ({"ChecksumSHA256": "other", "ETag": f'"{MD5}"'}, False),
        ({"ETag": f'"{MD5}"'}, True),
        ({"ETag": f'"{"0" * 32}"'}, False),
        ({"ETag": f'"{"0" * 32}"', "ServerSideEncryption": "aws:kms"}, None),
        ({"ETag": f'"{MD5}-2"'}, None),
        ({}, None),
    ],
)
def test_a_bucket_has_an_object_only_if_its_checksum_says_so(
    answer: dict[str, Any], kept: bool | None
) -> None:
    assert _is_kept(answer, FILE, SHA) is kept
