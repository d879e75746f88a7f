"""Table E.1-1 and table E.3.10-1 of PS3.15: what happens to which attribute. No I/O but its files.

The basic profile is that of edition 2026c, the options are those of a package of May 2026;
`make_tables.py` writes the files.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path

from pydicom.datadict import dictionary_has_tag, keyword_for_tag

from extensions.anonymize.options import Options

_FOLDER = Path(__file__).parent / "tables"
_OPTIONS = ("uids", "device", "institution", "characteristics", "full_dates", "modified_dates")
_CLEANING = ("descriptors", "structured", "graphics")


class Act(Enum):
    """The codes of PS3.15 E.1-1a; `SHIFT` is cleaning a date."""

    REMOVE = "X"
    EMPTY = "Z"
    DUMMY = "D"
    UID = "U"
    KEEP = "K"
    CLEAN = "C"
    SHIFT = "shift"


@dataclass(frozen=True)
class Table:
    """What the options make of table E.1-1."""

    options: Options
    acts: Mapping[str, Act]

    def act(self, tag: int, vr: str) -> Act:
        """What happens to a standard attribute of this value representation."""
        listed = self.listed(tag)
        if listed is not None:
            return listed
        # Not in the table: the standard keeps it. What no dictionary knows could be anything.
        return self._unlisted(tag, vr) if dictionary_has_tag(tag) else Act.REMOVE

    def listed(self, tag: int) -> Act | None:
        """What the table says, if it lists the attribute."""
        digits = f"{tag:08x}"
        if digits.startswith("50"):
            return self.acts["50xxxxxx"]
        return self.acts.get(digits) or self.acts.get(f"{digits[:2]}xx{digits[4:]}")

    def _unlisted(self, tag: int, vr: str) -> Act:
        match vr:
            case "DA" | "DT" | "TM":
                return {"full": Act.KEEP, "shifted": Act.SHIFT}.get(self.options.dates, Act.DUMMY)
            case "PN" | "AE":
                return Act.DUMMY
            case "UI":
                return Act.KEEP if self.options.retain_uids or _names_a_class(tag) else Act.UID
            case "LT" | "ST" | "UT":
                return Act.CLEAN if self.options.clean_descriptors else Act.DUMMY
            case "UN" | "UR":
                return Act.REMOVE
        return Act.KEEP


def table_for(options: Options) -> Table:
    """The table as the options have it."""
    columns = options.columns()
    return Table(options, {row["tag"]: _act(row, columns) for row in _rows()})


@cache
def safe_private() -> Mapping[tuple[str, int, int], str]:
    """(Private creator, group, low byte of the element) → VR, of what is safe to keep."""
    with (_FOLDER / "safe_private.csv").open(newline="") as file:
        return {
            (row["creator"], int(row["group"], 16), int(row["element"], 16)): row["vr"]
            for row in csv.DictReader(file)
        }


@cache
def _rows() -> list[dict[str, str]]:
    with (_FOLDER / "table_e_1_1.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _act(row: Mapping[str, str], columns: frozenset[str]) -> Act:
    said = {name: row[name] for name in (*_OPTIONS, *_CLEANING) if name in columns and row[name]}
    if said.get("modified_dates"):
        return Act.SHIFT
    if "C" in said.values():  # an option that cleans is stricter than one that retains
        return Act.CLEAN
    if "K" in said.values():
        return Act.KEEP
    if row["basic"].endswith("U*"):
        return Act.KEEP  # a sequence of references: the UIDs in it are replaced
    # Where the standard leaves it to the object's type: what is valid for each of them.
    return Act(row["basic"].rpartition("/")[2])


def _names_a_class(tag: int) -> bool:
    """Whether a UID names a class, syntax or coding scheme, which is of no patient."""
    keyword = keyword_for_tag(tag)
    return any(
        part in keyword
        for part in ("SOPClass", "TransferSyntax", "CodingScheme", "ContextUID", "MappingResource")
    )
