"""Putting objects into an S3 bucket, each verified by its checksum."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from extensions.routing.destination_settings import S3Settings
from extensions.routing.ledger import Instance
from extensions.routing.progress import Outcome
from extensions.routing.sending.name_pattern import NoName, name_of
from extensions.routing.sending.sender import Cues
from gateway.errors import DestinationUnavailable

_MD5 = re.compile(r"[0-9a-f]{32}")
# These concern one object; any other refusal is about the bucket, the keys, or the moment.
_OBJECT = frozenset({"EntityTooLarge", "InvalidArgument", "KeyTooLongError", "InvalidRequest"})


class S3Sender:
    """Puts each instance over kept connections."""

    def __init__(self, settings: S3Settings, *, timeout_s: float = 60.0) -> None:
        self._settings = settings
        self._s3 = client(settings, timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._s3.close()

    def send(self, instance: Instance, file: bytes, cues: Cues) -> Outcome:
        """Put one file; raises `DestinationUnavailable` when it was not answered."""
        uid = instance.sop_instance_uid
        try:
            key = str(name_of(self._settings.pattern, file))
        except NoName as error:
            return Outcome(uid, False, True, "", str(error))
        cues.going()
        try:
            status = self._put(key, file)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in _OBJECT:
                return Outcome(uid, False, True, code, "The bucket refused the object.")
            raise DestinationUnavailable(f"{self._settings.address} answered {code}.") from error
        except BotoCoreError as error:
            told = f"{self._settings.address}: {type(error).__name__}."
            raise DestinationUnavailable(told) from error
        if status is None:
            cause = "What the bucket holds is not what was sent."
            return Outcome(uid, False, False, "checksum", cause)
        return Outcome(uid, True, False, f"HTTP {status}")

    def _put(self, key: str, file: bytes) -> int | None:
        """The HTTP status; None: the checksum of what is kept differs."""
        place = {"Bucket": self._settings.bucket, "Key": key}
        wanted = base64.b64encode(hashlib.sha256(file).digest()).decode()
        answer = self._s3.put_object(
            **place, Body=file, ContentType="application/dicom", ChecksumSHA256=wanted
        )
        kept = _is_kept(answer, file, wanted)
        if kept is None:  # it tells no checksum, so it is asked for the object
            kept = self._s3.get_object(**place)["Body"].read() == file
        return int(answer["ResponseMetadata"]["HTTPStatusCode"]) if kept else None


def client(settings: S3Settings, timeout_s: float) -> Any:
    """A client with the destination's own keys, never those of this machine."""
    return boto3.client(
        "s3",
        endpoint_url=settings.url,
        region_name=settings.region,
        aws_access_key_id=settings.access_key,
        aws_secret_access_key=settings.secret_key,
        config=Config(
            connect_timeout=10,
            read_timeout=timeout_s,
            retries={"total_max_attempts": 1},  # the ledger tries again
            s3={"addressing_style": "path"},
            signature_version="s3v4",
        ),
    )


def _is_kept(answer: Mapping[str, Any], file: bytes, wanted: str) -> bool | None:
    """Whether the answer to a PUT tells that all arrived; None: it does not tell.

    An ETag is the MD5 only of what is neither encrypted by a key service nor sent in parts.
    """
    if told := answer.get("ChecksumSHA256"):
        return bool(told == wanted)
    etag = str(answer.get("ETag", "")).strip('"')
    if _MD5.fullmatch(etag) and not answer.get("ServerSideEncryption"):
        return etag == hashlib.md5(file, usedforsecurity=False).hexdigest()
    return None
