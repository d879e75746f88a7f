from __future__ import annotations

from typing import Any

import pytest

from extensions.routing.actions import ACTIONS
from extensions.routing.changes.crosswalk_csv import MOST_COLUMNS, read_csv
from extensions.routing.changes.crosswalk_settings import Crosswalk, changes_of
from extensions.routing.changes.crosswalk_sources import parse_source
from gateway.actions import Actions, Step
from gateway.errors import InvalidInput

ACCESSION: dict[str, Any] = {
    "table": "accession",
    "look_up": "AccessionNumber",
    "sets": {"new": "AccessionNumber", "id": "PatientID"},
}


def told_by(given: dict[str, Any]) -> str:
    with pytest.raises(InvalidInput) as error:
        Actions(ACTIONS).parse(Step("crosswalk", given))
    return str(error.value)


def test_each_column_of_a_row_sets_its_tag() -> None:
    settings = Crosswalk.model_validate(ACCESSION)
    changes = changes_of(settings, {"new": "N1", "id": "P9", "other": "x"})
    assert [(c.tag, c.value) for c in changes] == [("AccessionNumber", "N1"), ("PatientID", "P9")]


def test_a_value_that_its_tag_cannot_hold_is_named_by_column_and_never_quoted() -> None:
    settings = Crosswalk.model_validate(ACCESSION)
    with pytest.raises(
        ValueError, match="column new cannot be written to AccessionNumber"
    ) as error:
        changes_of(settings, {"new": "SECRET-SECRET-SECRET", "id": "P9"})
    assert "SECRET" not in str(error.value)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"table": "Not A Name"}, "table: "),
        ({"look_up": "Accession"}, "look_up: tag 'Accession' is unknown; did you mean"),
        ({"look_up": "PixelData"}, "look_up: PixelData has VR OB or OW; choose a tag"),
        ({"sets": {}}, "sets: "),
        ({"sets": {"new": "StudyInstanceUID"}}, "StudyInstanceUID cannot be changed"),
        ({"sets": {"new": '(0019,"ACME 1",10)'}}, "is not known; use another tag"),
        ({"on_miss": "default"}, "defaults: give a value for each of new, id"),
        ({"defaults": {"new": "x"}}, "defaults: only on_miss default uses them"),
        (
            {"on_miss": "default", "defaults": {"new": "x" * 17, "id": ""}},
            "defaults: new: not a value of VR SH; give at most 16 characters",
        ),
    ],
)
def test_a_wrong_setting_is_refused_when_saved(changed: dict[str, Any], told: str) -> None:
    assert told in told_by({**ACCESSION, **changed})


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_csv_file_is_read_as_spreadsheets_write_it(delimiter: str, end: str) -> None:
    lines = [["old", "new"], [" A1 ", "N1"], ["A2", f'"N{delimiter}2"'], ["", ""], ["A3", "Ü"]]
    text = end.join(delimiter.join(line) for line in lines) + end
    rows = read_csv(text.encode("utf-8-sig"), "old")
    assert rows == {"A1": {"new": "N1"}, "A2": {"new": f"N{delimiter}2"}, "A3": {"new": "Ü"}}


def test_every_wrong_line_of_a_csv_file_is_named_and_none_is_quoted() -> None:
    text = "old,new\nSECRET,1\n,2\nSECRET,3\nB\n" + "C," + "x" * 1025 + "\n"
    with pytest.raises(InvalidInput) as error:
        read_csv(text.encode(), "old")
    assert error.value.detail == (
        "line 3: the key is empty; fill it in or remove the line; "
        "line 4: its key is that of line 2 too; remove one of them; "
        "line 5: 1 fields where the first line has 2; "
        "line 6: a value is longer than 1024 characters."
    )


def test_of_many_wrong_lines_the_first_are_told_and_the_others_counted() -> None:
    with pytest.raises(InvalidInput, match=r"line 21: .*; and 10 more"):
        read_csv(b"old,new\n" + b"x\n" * 30, "old")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "line 1: the names of the columns are missing"),
        (b"a,b\n1,2", "line 1: there is no column 'old' to look up; there are a, b"),
        (b"old,a,a\n", "line 1: each column needs a name of its own"),
        (b"old\nA", f"line 1: 2 to {MOST_COLUMNS} columns, not 1"),
        (b"old,new\nA,\xe4", "line 2: it is not UTF-8; save the file as UTF-8"),
        (b'old,new\nA,"x', "line 2: "),
        (b"old,new\nA,\0", "line 2: it holds a NUL character"),
    ],
)
def test_a_file_that_is_no_table_is_refused_with_the_cure(data: bytes, told: str) -> None:
    with pytest.raises(InvalidInput) as error:
        read_csv(data, "old")
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("kind", "given", "told"),
    [
        ("xml", {}, "kind: 'xml' is unknown; use table, csv, lookup"),
        ("csv", {"url": "ftp://x", "key_column": "old"}, "url: must be like https://"),
        ("csv", {"url": "https://x/a.csv"}, "key_column: Field required"),
        ("csv", {"url": "https://x/a.csv", "key_column": "old", "every_s": 1}, "every_s: "),
        ("lookup", {"url": "https://x/a", "parameter": "a b"}, "parameter: "),
        ("table", {"url": "https://x/a"}, "url: "),
    ],
)
def test_a_wrong_source_is_refused(kind: str, given: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput) as error:
        parse_source(kind, given)
    assert told in str(error.value)


def test_a_token_is_not_shown() -> None:
    source = parse_source("lookup", {"url": "https://x/a", "token": "hush"})
    assert "hush" not in repr(source)
