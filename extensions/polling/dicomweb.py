"""A source that speaks DICOMweb: QIDO-RS to search, WADO-RS for one instance after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx
from pydicom.datadict import dictionary_keyword

from extensions.polling import filters
from extensions.polling.errors import Interrupted, SourceUnavailable, StudyNotRetrieved
from extensions.polling.filters import Answer
from extensions.polling.remote import MOST_STUDIES, Found, Retrieved, checked, first, seen
from extensions.polling.source_settings import DicomwebSource
from extensions.polling.storing import Holdings

PAGE = 500
MOST_INSTANCES = 100_000
MOST_SECONDS = 600.0  # for one answer, however slowly it drips
MOST_BYTES = 1 << 30
MOST_BYTES_OF_PAGE = 64 << 20
_AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_OF_ONE_OBJECT = frozenset({400, 404, 406, 409, 410, 500})


class DicomwebRemote:
    """One HTTP connection; `should_stop` ends what is under way."""

    def __init__(self, settings: DicomwebSource, should_stop: Callable[[], bool]) -> None:
        self._url = settings.url
        self._should_stop = should_stop
        self._http = client(settings, settings.timeout_s)

    def close(self) -> None:
        """End the connection."""
        self._http.close()

    def search(self, wanted: Mapping[str, str]) -> Found:
        """The studies that match; raises `SourceUnavailable`."""
        lists = []
        for asked in filters.alternatives(wanted):
            asked["includefield"] = "00201208"  # Number of Study Related Instances
            lists.append(self._pages("/studies", asked, MOST_STUDIES))
        return seen(wanted, lists)

    def retrieve(self, study: str, here: Holdings, begin: Callable[[], None]) -> Retrieved:
        """Bring the instances that are not here."""
        answers, is_whole = self._pages(f"/studies/{study}/instances", {}, MOST_INSTANCES)
        if not is_whole:
            raise StudyNotRetrieved(f"It has more than {MOST_INSTANCES} instances.")
        places = {
            checked(first(answer, "SOPInstanceUID")): checked(first(answer, "SeriesInstanceUID"))
            for answer in answers
        }
        missing = places.keys() - here.instances(study)
        if missing:
            begin()
        for uid in sorted(missing):
            here.store(self._instance(study, places[uid], uid), study)
        return Retrieved(len(places), len(missing))

    def _instance(self, study: str, series: str, uid: str) -> bytes:
        path = f"/studies/{study}/series/{series}/instances/{uid}"
        answer, body = self._get(path, {}, _AS_STORED, MOST_BYTES)
        if answer.status_code in _OF_ONE_OBJECT:
            raise StudyNotRetrieved(f"An instance was answered HTTP {answer.status_code}.")
        _expect(answer, 200)
        return only_part(answer.headers.get("Content-Type", ""), body)

    def _pages(self, path: str, asked: Mapping[str, str], most: int) -> tuple[list[Answer], bool]:
        """Every answer of a search, by pages, and whether these are all."""
        found: list[Answer] = []
        known: set[str] = set()
        while len(found) < most:
            page = self._page(path, {**asked, "limit": str(PAGE), "offset": str(len(found))})
            fresh = [answer for answer in page if repr(answer) not in known]
            known |= {repr(answer) for answer in page}
            found += fresh
            if len(page) < PAGE or not fresh:  # the second: it does not know `offset`
                return found, True
        return found[:most], False

    def _page(self, path: str, asked: Mapping[str, str]) -> list[Answer]:
        answer, body = self._get(path, asked, "application/dicom+json", MOST_BYTES_OF_PAGE)
        if answer.status_code == 204:
            return []
        if answer.status_code == 404 and "/instances" in path:
            return []
        _expect(answer, 200)
        try:
            listed = httpx.Response(200, content=body).json()
            return [dict(_values(element)) for element in listed]
        except (ValueError, AttributeError, TypeError) as error:
            raise SourceUnavailable("Its answer to a search is no DICOM JSON.") from error

    def _get(
        self, path: str, asked: Mapping[str, str], accept: str, most_bytes: int
    ) -> tuple[httpx.Response, bytes]:
        end = time.monotonic() + MOST_SECONDS
        body = bytearray()
        try:
            with self._http.stream(
                "GET", self._url + path, params=dict(asked), headers={"Accept": accept}
            ) as answer:
                for part in answer.iter_bytes():
                    body += part
                    if self._should_stop():
                        raise Interrupted
                    if time.monotonic() > end or len(body) > most_bytes:
                        raise SourceUnavailable("An answer of it takes too long, or is too big.")
                return answer, bytes(body)
        except httpx.HTTPError as error:
            raise SourceUnavailable(f"{self._url}: {type(error).__name__}.") from error


def client(settings: DicomwebSource, timeout_s: float) -> httpx.Client:
    """An HTTP client with the source's credentials; follows no redirect with them."""
    headers = {"Authorization": f"Bearer {settings.token}"} if settings.token else {}
    login = (settings.username, settings.password) if settings.username else None
    timeout = httpx.Timeout(timeout_s, connect=min(10.0, timeout_s))
    return httpx.Client(headers=headers, auth=login, timeout=timeout, follow_redirects=False)


def only_part(content_type: str, body: bytes) -> bytes:
    """The one part of a multipart/related answer (RFC 2387); raises `StudyNotRetrieved`."""
    _, has_boundary, boundary = content_type.partition("boundary=")
    delimiter = b"--" + boundary.split(";")[0].strip('" ').encode()
    begin = body.find(delimiter)
    head_end = body.find(b"\r\n\r\n", max(begin, 0))
    end = body.rfind(b"\r\n" + delimiter)
    if not has_boundary or begin < 0 or head_end < 0 or end < head_end:
        raise StudyNotRetrieved("An instance came in an answer that cannot be read.")
    return body[head_end + 4 : end]


def _expect(answer: httpx.Response, status: int) -> None:
    if answer.status_code != status:
        raise SourceUnavailable(f"It answered HTTP {answer.status_code}.")


def _values(element: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Keyword and values of each attribute of DICOM JSON (PS3.18 annex F)."""
    for tag, told in element.items():
        keyword = dictionary_keyword(int(tag, 16)) if _is_known(tag) else ""
        if keyword:
            yield keyword, tuple(_text(value) for value in told.get("Value", ()))


def _is_known(tag: str) -> bool:
    try:
        return bool(dictionary_keyword(int(tag, 16)))
    except (KeyError, ValueError):
        return False


def _text(value: Any) -> str:
    if isinstance(value, Mapping):  # a person's name
        return str(value.get("Alphabetic", ""))
    return str(value)
