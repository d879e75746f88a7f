"""The planner statistics of Orthanc's SQLite index, on an index that Orthanc itself made."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from orthanc_plugins.index_statistics import FLAT, prepare, slow_steps, write


def test_the_first_start_makes_the_index_and_look_ups_go_by_value(tmp_path: Path) -> None:
    index = tmp_path / "orthanc" / "index"
    assert prepare(index) == FLAT
    with closing(sqlite3.connect(index)) as database:
        assert slow_steps(database) == []


def test_without_the_statistics_the_check_names_the_slow_step(tmp_path: Path) -> None:
    index = tmp_path / "index"
    prepare(index)
    with closing(sqlite3.connect(index)) as database:
        database.execute("DROP TABLE sqlite_stat1")
    with closing(sqlite3.connect(index)) as database:
        assert any(step.startswith("SEARCH t0 ") for step in slow_steps(database))
        write(database)
        assert slow_steps(database) == []


def test_statistics_of_a_real_analyze_are_replaced(tmp_path: Path) -> None:
    index = tmp_path / "index"
    prepare(index)
    with closing(sqlite3.connect(index)) as database:
        before = database.execute("SELECT * FROM sqlite_stat1").fetchall()
        database.execute("ANALYZE")
    assert prepare(index) == FLAT
    with closing(sqlite3.connect(index)) as database:
        assert database.execute("SELECT * FROM sqlite_stat1").fetchall() == before


def test_what_is_no_index_is_told_and_left_alone(tmp_path: Path) -> None:
    index = tmp_path / "index"
    index.write_bytes(b"no database at all" * 100)
    assert "file is not a database" in prepare(index)
    assert index.read_bytes() == b"no database at all" * 100
