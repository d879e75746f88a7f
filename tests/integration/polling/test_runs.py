"""One run of a source: how fast it retrieves, and within which hours."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from typing import Any, Self

import pytest

from extensions.polling import polling
from extensions.polling.leases import Ended
from extensions.polling.sources import create_source, get_source, hurry_source
from gateway.context import ServiceContext
from gateway.db import Database
from gateway.settings import Settings
from tests.integration.http_service import Answer, Asked, HttpService

STUDIES = [f"1.2.{number}" for number in range(1, 5)]
NIGHT = "22:00-06:00"


@dataclass
class Places:
    """What a run asks of a DICOMweb source of four studies, and of an archive that has none yet."""

    url: str = ""
    begun: set[str] = field(default_factory=set)  # studies of which an instance was asked for
    sent: list[str] = field(default_factory=list)  # instances
    searches: int = 0
    stored: int = 0
    meanwhile: Callable[[], None] = lambda: None

    def answer(self, path: str) -> tuple[str, bytes]:
        """Of the source, or under /archive."""
        if found := re.fullmatch(r"/source/studies/([\d.]+)/.*/instances/([\d.]+)", path):
            self.begun.add(found[1])
            self.sent.append(found[2])
            self.meanwhile()
            part = b"--b\r\nContent-Type: application/dicom\r\n\r\nan object\r\n--b--"
            return "multipart/related; boundary=b", part
        listed: list[dict[str, Any]] = []
        if path.endswith("/source/studies"):
            self.searches += 1
            listed = [_json({"0020000D": study, "00201208": 2}) for study in STUDIES]
        elif found := re.fullmatch(r"/source/studies/([\d.]+)/instances", path):
            listed = [_json({"00080018": f"{found[1]}.1.{n}", "0020000E": f"{found[1]}.1"})
                      for n in (1, 2)]  # fmt: skip
        return "application/dicom+json", json.dumps(listed).encode()

    def store(self) -> tuple[str, bytes]:
        self.stored += 1
        return "application/dicom+json", json.dumps(_json({"00081199": {}})).encode()


def _json(tags: dict[str, Any]) -> dict[str, Any]:
    return {tag: {"Value": [value]} for tag, value in tags.items()}


@pytest.fixture
def places() -> Iterator[Places]:
    places = Places()

    def answer(asked: Asked) -> Answer:
        path = asked.path.partition("?")[0]
        kind, body = places.answer(path) if asked.method == "GET" else places.store()
        return Answer(200, body, kind)

    service = HttpService(answer)
    places.url = service.url
    yield places
    service.close()


@pytest.fixture
def run(database: Database, settings: Settings, places: Places) -> Callable[..., Ended]:
    """Makes a source and runs it once."""
    settings = replace(settings, orthanc_url=f"{places.url}/archive")

    def run_one(*, hurried: bool = False, **given: Any) -> Ended:
        given = {"url": f"{places.url}/source", "look_back_days": 0, "interval_s": 60} | given
        with database.tenant_session("north") as session:
            source = create_source(session, name="Archive", kind="dicomweb", settings=given,
                                   encryption_key="key", actor="test")  # fmt: skip
            if hurried:
                hurry_source(session, source.source_id, actor="test")
            source = get_source(session, source.source_id)
        context = ServiceContext(settings, database, logging.getLogger("test"))
        return polling.Run(context, source, threading.Event())()

    return run_one


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets the time of day that a run sees, in UTC."""

    def set_to(text: str) -> None:
        class Clock(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Self:
                return cls.fromisoformat(f"2026-11-22T{text}:00").replace(tzinfo=UTC).astimezone(tz)

        monkeypatch.setattr(polling, "datetime", Clock)

    return set_to


def test_a_throttled_source_retrieves_no_faster_than_its_rate(
    places: Places, run: Callable[..., Ended]
) -> None:
    began = time.monotonic()
    ended = run(studies_per_minute=120)
    assert time.monotonic() - began >= 1.5  # half a second after each but the last
    assert ended.told == "4 studies listed, 4 retrieved, 8 instances."


def test_a_source_outside_its_window_is_left_alone_until_it_opens(
    places: Places, run: Callable[..., Ended], clock: Callable[[str], None]
) -> None:
    clock("12:00")
    ended = run(window=NIGHT)
    assert (places.searches, places.sent) == (0, [])
    assert ended.pause_s == 10 * 3600


def test_a_person_has_it_run_outside_its_window(
    places: Places, run: Callable[..., Ended], clock: Callable[[str], None]
) -> None:
    clock("12:00")
    run(window=NIGHT, hurried=True, studies_per_minute=0)
    assert places.stored == 8


def test_when_the_window_closes_the_study_under_way_is_finished_and_the_rest_waits(
    places: Places, run: Callable[..., Ended], clock: Callable[[str], None]
) -> None:
    clock("05:59")
    places.meanwhile = lambda: clock("06:00")
    ended = run(window=NIGHT, studies_per_minute=0)
    (study,) = places.begun
    assert places.sent == [f"{study}.1.1", f"{study}.1.2"]
    assert places.stored == 2
    assert ended.told == "4 studies listed, 1 retrieved, 2 instances."
    assert ended.pause_s == 16 * 3600
