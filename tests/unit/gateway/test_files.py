"""Files are read from Orthanc's disk where that is here, and else as everybody reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from gateway.archive import Archive
from gateway.errors import ArchiveUnavailable
from gateway.files import AT_ONCE, Files, Lying, Place

ORDER = [("1.2", f"1.2.{number}") for number in range(AT_ONCE + 10)]


class Holding:
    """An archive whose files lie in `disk`, but for those that are `elsewhere`."""

    def __init__(self, disk: Path, elsewhere: Sequence[str] = ()) -> None:
        self.elsewhere = elsewhere
        self.asked: list[int] = []
        self.sent: list[str] = []
        self.fails: set[int] = set()
        for _, uid in ORDER:
            folder = disk / "ab" / "cd"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"abcd-{uid}").write_bytes(b"on disk " + uid.encode())

    def places(self, study: str, patient_id: str, places: Sequence[Place]) -> list[Lying | None]:
        assert (study, patient_id) == ("1.1", "P")
        self.asked.append(len(places))
        if len(places) in self.fails:
            self.fails.clear()
            raise ArchiveUnavailable
        return [
            None if uid in self.elsewhere else (f"abcd-{uid}", len(uid) + 8) for _, uid in places
        ]

    def file_of(self, study: str, series: str, uid: str) -> bytes:
        self.sent.append(uid)
        return b"sent " + uid.encode()


def files(holding: Holding, disk: Path) -> Files:
    return Files(cast("Archive", holding), disk, "1.1", "P", ORDER)


def test_files_come_from_the_disk_and_the_archive_is_asked_for_many_at_a_time(
    tmp_path: Path,
) -> None:
    holding = Holding(tmp_path)
    with files(holding, tmp_path) as reader:
        assert [reader.file_of(*place) for place in ORDER] == [
            b"on disk " + uid.encode() for _, uid in ORDER
        ]
    assert (holding.asked, holding.sent) == ([AT_ONCE, 10], [])


def test_what_lies_elsewhere_is_sent(tmp_path: Path) -> None:
    holding = Holding(tmp_path, elsewhere=["1.2.1"])
    with files(holding, tmp_path) as reader:
        assert [reader.file_of(*place) for place in ORDER[:3]] == [
            b"on disk 1.2.0",
            b"sent 1.2.1",
            b"on disk 1.2.2",
        ]
    assert holding.asked == [AT_ONCE, 10]


def test_a_file_that_is_gone_or_was_cut_short_is_sent(tmp_path: Path) -> None:
    holding = Holding(tmp_path)
    (tmp_path / "ab/cd/abcd-1.2.0").unlink()
    (tmp_path / "ab/cd/abcd-1.2.1").write_bytes(b"on d")
    with files(holding, tmp_path) as reader:
        assert [reader.file_of(*place) for place in ORDER[:2]] == [b"sent 1.2.0", b"sent 1.2.1"]


def test_what_the_archive_could_not_tell_is_asked_again(tmp_path: Path) -> None:
    holding = Holding(tmp_path)
    holding.fails = {10}
    with files(holding, tmp_path) as reader:
        reader.file_of(*ORDER[0])
        with pytest.raises(ArchiveUnavailable):
            reader.file_of(*ORDER[AT_ONCE])
        assert reader.file_of(*ORDER[AT_ONCE]).startswith(b"on disk")


def test_without_the_disk_nobody_is_asked_for_places(tmp_path: Path) -> None:
    holding = Holding(tmp_path)
    with files(holding, tmp_path / "not here") as reader:
        assert reader.file_of(*ORDER[0]) == b"sent 1.2.0"
    assert holding.asked == []
