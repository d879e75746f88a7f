"""Asking others over HTTP for the rows of a table."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import httpx

from extensions.routing.changes.crosswalk_csv import problem_of
from extensions.routing.changes.crosswalk_sources import CsvSource, LookupSource
from gateway.errors import GatewayError

MOST_BYTES_OF_FILE = 64 << 20
MOST_BYTES_OF_ANSWER = 64 << 10
FILE_S = 120.0
ANSWER_S = 15.0


class CrosswalkUnavailable(GatewayError):
    """A crosswalk table cannot be fetched now.

    It is tried again by itself; check the table's URL, its token and that the service runs.
    """

    http_status = 502
    permanent = False


def fetch_file(source: CsvSource, token: str) -> bytes:
    """The CSV file; raises `CrosswalkUnavailable`."""
    status, body = _get(source.url, {}, token, MOST_BYTES_OF_FILE, FILE_S)
    if status != httpx.codes.OK:
        raise CrosswalkUnavailable(f"{source.url} answered HTTP {status}.")
    return body


def ask(source: LookupSource, token: str, key: str) -> dict[str, str] | None:
    """What the service knows of a key by column, None: nothing (HTTP 404).

    Raises `CrosswalkUnavailable`, which never quotes key or answer.
    """
    query = {source.parameter: key}
    status, body = _get(source.url, query, token, MOST_BYTES_OF_ANSWER, ANSWER_S)
    if status == httpx.codes.NOT_FOUND:
        return None
    if status != httpx.codes.OK:
        raise CrosswalkUnavailable(f"{source.url} answered HTTP {status}.")
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict) or any(isinstance(v, dict | list) for v in found.values()):
        told = "did not answer a JSON object of texts and numbers"
        raise CrosswalkUnavailable(f"{source.url} {told}.")
    values = {str(name): "" if v is None else str(v).strip() for name, v in found.items()}
    if problem := problem_of(key, values):
        raise CrosswalkUnavailable(f"{source.url}: {problem}.")
    return values


def _get(
    url: str, query: Mapping[str, Any], token: str, most_bytes: int, seconds: float
) -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = httpx.Timeout(min(seconds, 30.0), connect=10.0)
    end = time.monotonic() + seconds
    body = bytearray()
    try:
        # A redirect is not followed: it would take the token elsewhere.
        with (
            httpx.Client(headers=headers, timeout=timeout, follow_redirects=False) as http,
            http.stream("GET", url, params=query or None) as answer,
        ):
            for part in answer.iter_bytes():
                body += part
                if len(body) > most_bytes:
                    raise CrosswalkUnavailable(f"{url} answers more than {most_bytes} bytes.")
                if time.monotonic() > end:
                    raise CrosswalkUnavailable(f"{url} takes longer than {seconds:.0f} s.")
            return answer.status_code, bytes(body)
    except httpx.HTTPError as error:
        raise CrosswalkUnavailable(f"{url}: {type(error).__name__}.") from None
