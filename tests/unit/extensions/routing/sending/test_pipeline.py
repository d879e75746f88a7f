"""What makes forwarding quick: reading ahead, asking for leave and writing down beside it."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

from extensions import routing
from extensions.routing.ledger import Instance
from extensions.routing.sending import granting
from extensions.routing.sending.granting import Grants
from extensions.routing.sending.reading import Ahead
from extensions.routing.sending.recording import MOST_UNWRITTEN, Recorder
from gateway.errors import ArchiveUnavailable, DatabaseUnavailable, NotFound


def instances(*numbers: int) -> list[Instance]:
    fields = dict.fromkeys(Instance.__dataclass_fields__, cast("str", ""))
    fields |= {"series_instance_uid": "1.9", "updated_at": cast("str", datetime.now(UTC))}
    return [Instance(**(fields | {"sop_instance_uid": f"1.2.{n}"})) for n in numbers]  # type: ignore[arg-type]


class Archive:
    """Makes the files of its instances; notes of which."""

    def __init__(self, *numbers: int) -> None:
        self.uids = {each.sop_instance_uid for each in instances(*numbers)}
        self.made: list[str] = []

    def make(self, instance: Instance) -> bytes:
        self.made.append(instance.sop_instance_uid)
        if instance.sop_instance_uid not in self.uids:
            raise NotFound
        return instance.sop_instance_uid.encode()


def test_the_next_file_is_ready_before_its_turn_and_none_is_made_twice() -> None:
    archive, todo = Archive(1, 2, 3), instances(1, 2, 3)
    ahead = Ahead(todo, archive.make)
    for number, instance in enumerate(todo, 1):
        assert ahead.file_of(instance) == f"1.2.{number}".encode()
        ahead.ready_after(instance)
        ahead.ready_after(instance)  # a file that goes twice, the second time decompressed
        assert archive.made == ["1.2.1", "1.2.2", "1.2.3"][: number + 1]


def test_what_is_not_ready_is_made_on_its_turn() -> None:
    archive, todo = Archive(1, 2, 3), instances(1, 2, 3)
    ahead = Ahead(todo, archive.make)
    assert [ahead.file_of(each) for each in todo] == [b"1.2.1", b"1.2.2", b"1.2.3"]


def test_a_file_that_cannot_be_read_is_told_of_again_on_its_turn() -> None:
    archive, todo = Archive(1, 3), instances(1, 2, 3)
    ahead = Ahead(todo, archive.make)
    ahead.file_of(todo[0])
    with pytest.raises(NotFound):
        ahead.ready_after(todo[0])
    with pytest.raises(NotFound):
        ahead.file_of(todo[1])


def test_an_answer_is_written_at_once_and_those_meanwhile_together() -> None:
    written: list[list[int]] = []
    begun, go = threading.Semaphore(0), threading.Semaphore(0)

    def write(answers: Sequence[int]) -> None:
        begun.release()
        go.acquire()
        written.append(list(answers))

    with Recorder(write) as recorder:
        recorder.note(1)
        assert begun.acquire(timeout=30)
        for answer in (2, 3):
            recorder.note(answer)
        go.release(2)
    assert written == [[1], [2, 3]]


def test_the_next_instance_waits_when_too_much_is_not_written() -> None:
    go = threading.Event()
    noted: list[int] = []

    def note(recorder: Recorder[int]) -> None:
        for answer in range(MOST_UNWRITTEN + 8):
            recorder.note(answer)
            noted.append(answer)

    with Recorder[int](lambda _: cast("None", go.wait())) as recorder:
        thread = threading.Thread(target=note, args=[recorder])
        thread.start()
        while len(recorder._unwritten) < MOST_UNWRITTEN:
            time.sleep(0.01)
        assert len(noted) == MOST_UNWRITTEN - 1
        go.set()
        thread.join(30)
    assert noted == list(range(MOST_UNWRITTEN + 8))


def test_what_could_not_be_written_is_raised() -> None:
    def write(_: Sequence[int]) -> None:
        raise DatabaseUnavailable

    with pytest.raises(DatabaseUnavailable), Recorder(write) as recorder:
        recorder.note(1)


def test_all_is_written_although_the_sending_failed() -> None:
    written: list[int] = []
    with suppress(ArchiveUnavailable), Recorder[int](written.extend) as recorder:
        recorder.note(1)
        raise ArchiveUnavailable
    assert written == [1]


class Ledger:
    """Grants everything but what is `settled`; notes what it was asked for."""

    def __init__(self, *settled: str) -> None:
        self.settled = set(settled)
        self.asked: list[list[str]] = []

    def ask(self, uids: Sequence[str]) -> set[str]:
        self.asked.append(list(uids))
        return set(uids) - self.settled


def test_leave_is_asked_for_some_at_a_time_and_for_the_next_while_these_go_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(granting, "GOOD_FOR_S", 3600)
    ledger, order = Ledger(), [str(number) for number in range(700)]
    with Grants(order, ledger.ask) as grants:
        assert grants.may("0")
        assert len(ledger.asked) == 1
        assert all(grants.may(uid) for uid in order)
    assert [len(uids) for uids in ledger.asked] == [16, 32, 64, 128, 256, 204]
    assert [uid for uids in ledger.asked for uid in uids] == order


def test_leave_is_good_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(granting, "GOOD_FOR_S", 3600)
    ledger = Ledger()
    with Grants(["a", "b", "c"], ledger.ask) as grants:
        assert grants.may("a")
        ledger.settled = {"b"}
        assert grants.may("b")
        monkeypatch.setattr(granting.time, "monotonic", lambda: time.perf_counter() + 1e9)
        assert not grants.may("b")
        assert grants.may("c")
    assert ledger.asked == [["a", "b", "c"], ["b", "c"]]


def test_leave_that_was_asked_for_beforehand_is_no_longer_good_than_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(granting, "LEAST", 2)
    monkeypatch.setattr(granting, "GOOD_FOR_S", 3600)
    ledger = Ledger()
    with Grants(["a", "b", "c", "d"], ledger.ask) as grants:
        assert grants.may("a")
        assert grants.may("b")
        monkeypatch.setattr(granting.time, "monotonic", lambda: time.perf_counter() + 1e9)
        ledger.settled = {"c"}
        assert not grants.may("c")


def test_a_ledger_that_does_not_answer_is_told_of_on_the_turn_of_what_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(granting, "LEAST", 2)
    monkeypatch.setattr(granting, "GOOD_FOR_S", 3600)

    def ask(uids: Sequence[str]) -> set[str]:
        if "c" in uids:
            raise DatabaseUnavailable
        return set(uids)

    with Grants(["a", "b", "c"], ask) as grants:
        assert grants.may("a")
        assert grants.may("b")
        with pytest.raises(DatabaseUnavailable):
            grants.may("c")


def test_the_manual_says_how_many_may_come_twice() -> None:
    assert (MOST_UNWRITTEN, granting.LEAST, granting.MOST) == (256, 16, 256)
    manual = Path(routing.__file__).with_name("README.md").read_text(encoding="utf-8")
    assert "**Hardly ever twice.**" in manual
    assert "no more than 256 are ever unwritten" in manual
