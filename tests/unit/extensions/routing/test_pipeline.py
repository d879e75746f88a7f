"""What makes forwarding quick: reading ahead, asking for leave and writing down beside it."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import cast

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from extensions import routing
from extensions.routing import granting, shelf
from extensions.routing.granting import Grants
from extensions.routing.ledger import Instance
from extensions.routing.reading import ReadAhead
from extensions.routing.recording import MOST_UNWRITTEN, Recorder
from extensions.routing.shelf import Shelf
from gateway.archive import Archive
from gateway.errors import ArchiveUnavailable, DatabaseUnavailable, NotFound


def file(number: int) -> bytes:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, f"1.2.{number}"
    dataset.PixelData, dataset.BitsAllocated = bytes(1000), 8
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def instances(*numbers: int) -> list[Instance]:
    fields = dict.fromkeys(Instance.__dataclass_fields__, cast("str", ""))
    fields |= {"series_instance_uid": "1.9", "updated_at": cast("str", datetime.now(UTC))}
    return [Instance(**(fields | {"sop_instance_uid": f"1.2.{n}"})) for n in numbers]  # type: ignore[arg-type]


class Holding:
    """An archive of one series, in an order of its own."""

    def __init__(self, *order: int, fails_after: int = 1000) -> None:
        self.order, self.fails_after = order, fails_after
        self.singly: list[str] = []
        self.read = 0

    def files_of_series(self, study_uid: str, series_uid: str) -> Generator[bytes]:
        for number in self.order:
            if self.read >= self.fails_after:
                raise ArchiveUnavailable
            self.read += 1
            yield file(number)

    def file_of(self, study_uid: str, series_uid: str, uid: str) -> bytes:
        self.singly.append(uid)
        if int(uid.rpartition(".")[2]) not in self.order:
            raise NotFound
        return file(int(uid.rpartition(".")[2]))


def ahead(
    holding: Holding, todo: Sequence[Instance], spool: Path, *, whole: bool = True
) -> ReadAhead:
    return ReadAhead(cast("Archive", holding), "1.1", todo, whole=whole, spool=spool)


@pytest.mark.parametrize("order", [(1, 2, 3, 4, 5), (5, 3, 1, 2, 4)])
def test_a_series_is_read_as_a_whole_and_handed_out_in_the_ledgers_order(
    tmp_path: Path, order: tuple[int, ...]
) -> None:
    holding, todo = Holding(*order), instances(1, 2, 3, 4, 5)
    with ahead(holding, todo, tmp_path) as files:
        first = files.file_of(todo[0])
        time.sleep(0.2)
        assert [first, *map(files.file_of, todo[1:])] == [file(n) for n in (1, 2, 3, 4, 5)]
    assert holding.singly in ([], ["1.2.1"])


def test_what_the_series_does_not_bring_is_asked_for_singly(tmp_path: Path) -> None:
    holding, todo = Holding(1, 2, 3, 4, 5, fails_after=2), instances(1, 2, 3, 4, 5)
    with ahead(holding, todo, tmp_path) as files:
        assert [files.file_of(each) for each in todo] == [file(n) for n in (1, 2, 3, 4, 5)]
    assert holding.singly[-3:] == ["1.2.3", "1.2.4", "1.2.5"]


def test_what_is_gone_is_told_as_the_archive_tells_it(tmp_path: Path) -> None:
    todo = instances(1, 2, 3, 4, 9)
    with ahead(Holding(1, 2, 3, 4), todo, tmp_path) as files, pytest.raises(NotFound):
        files.file_of(todo[4])


def test_of_little_that_is_left_nothing_else_is_read(tmp_path: Path) -> None:
    holding, todo = Holding(*range(100)), instances(96, 97, 98, 99)
    with ahead(holding, todo, tmp_path, whole=False) as files:
        files.file_of(todo[0])
    assert holding.read == 0


def test_no_more_is_read_ahead_than_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "MOST_IN_MEMORY", 3000)
    monkeypatch.setattr(shelf, "MOST_ON_DISK", 3000)
    holding, todo = Holding(*range(100)), instances(*range(100))
    with ahead(holding, todo, tmp_path) as files:
        files.file_of(todo[0])
        time.sleep(0.2)
        assert holding.read < 10
        assert [files.file_of(each) for each in todo[1:]] == [file(n) for n in range(1, 100)]


def test_a_shelf_keeps_on_disk_what_memory_does_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "MOST_IN_MEMORY", 1500)
    kept = Shelf({"1.2.1", "1.2.2", "1.2.3"}, tmp_path / "spool")
    for number in (1, 2, 3, 4):
        assert kept.put(f"1.2.{number}", file(number))
    assert list((tmp_path / "spool").iterdir()) == []  # it has no name, so it cannot stay behind
    assert [kept.take(f"1.2.{n}") for n in (3, 1, 2)] == [file(n) for n in (3, 1, 2)]
    assert kept.take("1.2.4") is None  # nobody wanted it
    assert kept.take("1.2.1") is None
    kept.close()


def test_a_shelf_that_is_closed_takes_nothing_more(tmp_path: Path) -> None:
    kept = Shelf({"1.2.1"}, tmp_path)
    kept.close()
    assert not kept.put("1.2.1", file(1))


def test_an_answer_is_written_at_once_and_those_meanwhile_together() -> None:
    written: list[list[int]] = []
    go = threading.Semaphore(0)

    def write(answers: Sequence[int]) -> None:
        go.acquire()
        written.append(list(answers))

    with Recorder(write) as recorder:
        recorder.note(1)
        time.sleep(0.1)
        for answer in (2, 3):
            recorder.note(answer)
        go.release(2)
    assert written == [[1], [2, 3]]


def test_the_next_instance_waits_when_too_much_is_not_written() -> None:
    go = threading.Event()
    noted: list[int] = []

    def note(recorder: Recorder[int]) -> None:
        for answer in range(40):
            recorder.note(answer)
            noted.append(answer)

    with Recorder[int](lambda _: cast("None", go.wait())) as recorder:
        thread = threading.Thread(target=note, args=[recorder])
        thread.start()
        time.sleep(0.2)
        assert len(noted) == MOST_UNWRITTEN - 1
        go.set()
        thread.join(10)
    assert noted == list(range(40))


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


def test_leave_is_asked_for_some_at_a_time_and_again_after_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[list[str]] = []

    def ask(uids: Sequence[str]) -> set[str]:
        asked.append(list(uids))
        return set(uids) - {"c"}

    monkeypatch.setattr(granting, "AT_ONCE", 4)
    grants = Grants(["a", "b", "c", "d", "e"], ask)
    assert grants.may("a")
    assert grants.may("b")
    assert asked == [["a", "b", "c", "d"]]
    assert not grants.may("c")
    monkeypatch.setattr(granting.time, "monotonic", lambda: time.perf_counter() + 1e9)
    assert grants.may("d")
    assert asked[1:] == [["c", "d", "e"], ["d", "e"]]


def test_the_manual_says_how_many_may_come_twice() -> None:
    assert (MOST_UNWRITTEN, granting.AT_ONCE) == (32, 32)
    manual = Path(routing.__file__).with_name("README.md").read_text(encoding="utf-8")
    assert "**Hardly ever twice.**" in manual
    assert "no more than 32 are ever unwritten" in manual
