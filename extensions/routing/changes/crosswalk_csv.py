"""Reading a table from CSV. No I/O. Complaints name lines and columns, never what stands there."""

from __future__ import annotations

import csv
import io

from gateway.errors import InvalidInput

type Rows = dict[str, dict[str, str]]
"""The values by column, by key."""

MOST_ROWS = 500_000
MOST_COLUMNS = 64
LONGEST_VALUE = 1024
LONGEST_KEY = 256
_MOST_TOLD = 20


def read_csv(data: bytes, key_column: str) -> Rows:
    """A UTF-8 file whose first line names its columns, separated by comma, semicolon or tab.

    Raises `InvalidInput` that tells of every wrong line (of 20, and how many more there are).
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidInput(f"line {line}: it is not UTF-8; save the file as UTF-8.") from None
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    errors: list[str] = []
    rows: Rows = {}
    try:
        columns = _columns(next(reader, []), key_column)
        seen: dict[str, int] = {}
        for fields in reader:
            line = reader.line_num
            if not any(field.strip() for field in fields):
                continue
            if problem := _problem(fields, columns, key_column, seen):
                errors.append(f"line {line}: {problem}")
                continue
            values = {name: value.strip() for name, value in zip(columns, fields, strict=True)}
            key = values.pop(key_column)
            seen[key] = line
            rows[key] = values
            if len(rows) > MOST_ROWS:
                raise InvalidInput(f"line {line}: a table has at most {MOST_ROWS} rows.")
    except csv.Error as error:
        errors.append(f"line {reader.line_num}: {error}; check the quotes")
    if errors:
        more = f"; and {len(errors) - _MOST_TOLD} more" if len(errors) > _MOST_TOLD else ""
        raise InvalidInput("; ".join(errors[:_MOST_TOLD]) + f"{more}.")
    return rows


def problem_of(key: str, values: dict[str, str]) -> str:
    """What is wrong with a row, in words with the cure; empty: nothing."""
    if not key:
        return "the key is empty; fill it in or remove the line"
    if len(key) > LONGEST_KEY:
        return f"the key is longer than {LONGEST_KEY} characters"
    if "\0" in key or any("\0" in value for value in values.values()):
        return "it holds a NUL character; remove it"
    if any(len(value) > LONGEST_VALUE for value in values.values()):
        return f"a value is longer than {LONGEST_VALUE} characters"
    return ""


def _columns(names: list[str], key_column: str) -> list[str]:
    columns = [name.strip() for name in names]
    if not any(columns):
        raise InvalidInput("line 1: the names of the columns are missing; add them.")
    if "" in columns or len(set(columns)) < len(columns):
        raise InvalidInput("line 1: each column needs a name of its own.")
    if key_column not in columns:
        raise InvalidInput(
            f"line 1: there is no column {key_column!r} to look up; there are {', '.join(columns)}."
        )
    if not 2 <= len(columns) <= MOST_COLUMNS:
        raise InvalidInput(f"line 1: 2 to {MOST_COLUMNS} columns, not {len(columns)}.")
    return columns


def _problem(fields: list[str], columns: list[str], key_column: str, seen: dict[str, int]) -> str:
    if len(fields) != len(columns):
        return f"{len(fields)} fields where the first line has {len(columns)}"
    values = dict(zip(columns, (field.strip() for field in fields), strict=True))
    key = values[key_column]
    if key in seen:
        return f"its key is that of line {seen[key]} too; remove one of them"
    return problem_of(key, values)
