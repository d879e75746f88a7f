"""What lies in a watched folder, and putting it aside."""

from __future__ import annotations

import json
import os
from datetime import date
from pathlib import Path

import pytest

from extensions.polling import aside, watching
from extensions.polling.inbox import study_of
from extensions.polling.sidecar import Complaint, Rejected
from gateway.phantom import ct_phantom


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def names(folder: Path) -> set[tuple[str, ...]]:
    found = watching.items(folder, settle_s=0)
    return {tuple(str(f.relative_to(folder)) for f in item.files) for item in found}


def test_dicom_files_and_pairs_are_found_also_in_folders(tmp_path: Path) -> None:
    put(tmp_path, "1.dcm", "ct/IM0001", "a.jpg", "a.json", "b/a.PNG", "b/a.json")
    assert names(tmp_path) == {
        ("1.dcm",),
        ("ct/IM0001",),
        ("a.jpg", "a.json"),
        ("b/a.PNG", "b/a.json"),
    }


def test_what_is_unfinished_hidden_linked_or_put_aside_is_left_alone(tmp_path: Path) -> None:
    put(tmp_path, "a.dcm.part", "b.tmp", ".c.dcm", ".d/e.dcm", "done/f.dcm", "rejected/g.dcm")
    (tmp_path / "link.dcm").symlink_to("/etc/passwd")
    (tmp_path / "folder").symlink_to("/etc")
    os.mkfifo(tmp_path / "pipe.dcm")
    assert names(tmp_path) == set()
    assert not watching.has_work(tmp_path)


def test_a_folder_named_done_deeper_down_is_an_ordinary_one(tmp_path: Path) -> None:
    put(tmp_path, "ward/done/1.dcm")
    assert names(tmp_path) == {("ward/done/1.dcm",)}


def test_an_image_waits_for_its_sidecar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a.jpg", "b.json")
    assert names(tmp_path) == set()
    assert watching.has_work(tmp_path)
    monkeypatch.setattr(watching, "ORPHAN_S", 0.0)
    assert names(tmp_path) == {("a.jpg",), ("b.json",)}


def test_two_images_do_not_share_a_sidecar(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "a.png", "a.json")
    (item,) = watching.items(tmp_path, settle_s=0)
    assert [f.name for f in item.rivals] == ["a.png"]


def test_a_file_that_was_just_changed_or_is_open_to_write_is_not_complete(tmp_path: Path) -> None:
    put(tmp_path, "1.dcm")
    assert watching.items(tmp_path, settle_s=60) == []
    with (tmp_path / "1.dcm").open("ab"):
        assert watching.items(tmp_path, settle_s=0) == []
    assert len(watching.items(tmp_path, settle_s=0)) == 1


def test_a_copy_that_keeps_an_old_time_is_no_older_for_it(tmp_path: Path) -> None:
    put(tmp_path, "1.dcm")
    os.utime(tmp_path / "1.dcm", (0, 0))
    assert watching.items(tmp_path, settle_s=60) == []


def test_what_was_stored_lies_in_done_by_day_and_never_over_another(tmp_path: Path) -> None:
    for _ in range(2):
        put(tmp_path, "ct/1.dcm")
        (item,) = watching.items(tmp_path, settle_s=0)
        aside.done(tmp_path, item)
    (day,) = (tmp_path / "done").iterdir()
    assert sorted(f.name for f in (day / "ct").iterdir()) == ["1.dcm", "1~2.dcm"]


def test_a_sidecar_whose_image_was_moved_before_a_kill_follows_it(tmp_path: Path) -> None:
    put(tmp_path, "done/20261121/w/a.jpg", "w/a.json")
    item = watching.Item(sidecar=tmp_path / "w/a.json")
    assert aside.finish_move(tmp_path, item)
    assert (tmp_path / "done/20261121/w/a.json").exists()
    put(tmp_path, "w/b.json")
    assert not aside.finish_move(tmp_path, watching.Item(sidecar=tmp_path / "w/b.json"))


def test_what_is_rejected_lies_beside_why(tmp_path: Path) -> None:
    put(tmp_path, "w/a.jpg", "w/a.json")
    (item,) = watching.items(tmp_path, settle_s=0)
    aside.reject(tmp_path, item, [Complaint("PatientID", "It is missing.", "Add it.")])
    told = json.loads((tmp_path / "rejected/w/a.jpg.error.json").read_text())
    assert told["files"] == ["w/a.jpg", "w/a.json"]
    assert told["errors"][0]["cure"] == "Add it."
    assert names(tmp_path) == set()
    assert (tmp_path / "rejected/w/a.json").exists()


def test_done_is_emptied_after_its_days(tmp_path: Path) -> None:
    put(tmp_path, "done/20261113/1", "done/20261114/2", "done/20261121/3", "done/kept/4")
    aside.sweep(tmp_path, 7, date(2026, 11, 21))
    assert {d.name for d in (tmp_path / "done").iterdir()} == {"20261114", "20261121", "kept"}
    aside.sweep(tmp_path, 0, date(2026, 11, 21))
    assert {d.name for d in (tmp_path / "done").iterdir()} == {"kept"}


def test_a_dicom_file_that_is_cut_off_anywhere_is_refused() -> None:
    file = ct_phantom(1)[0]
    assert study_of(file, "1.dcm")
    for length in (*range(0, 2000, 13), len(file) - 1, len(file) - 20000):
        with pytest.raises(Rejected):
            study_of(file[:length], "1.dcm")
