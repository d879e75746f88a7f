"""Putting files of a watched folder aside: into `done/` by day, or into `rejected/` with why."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from extensions.polling.sidecar import Complaint
from extensions.polling.watching import DONE, REJECTED, Item

_DAY = re.compile(r"\d{8}")


def done(folder: Path, item: Item) -> None:
    """Move what was stored; the sidecar last."""
    for file in item.files:
        _move(file, folder / DONE / f"{datetime.now(UTC):%Y%m%d}" / file.relative_to(folder))


def reject(folder: Path, item: Item, complaints: Sequence[Complaint]) -> None:
    """Move what can never be stored, and write beside it what is wrong and how to correct it."""
    names = [str(file.relative_to(folder)) for file in item.files]
    place = folder / REJECTED / item.files[0].relative_to(folder)
    told = {
        "files": names,
        "errors": [complaint.as_json() for complaint in complaints],
        "next": "Correct the files and put them back into the folder; remove this one.",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    place.parent.mkdir(parents=True, exist_ok=True)
    written = place.with_name(f".{place.name}.new")
    written.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n")
    # First why, then what: a kill in between rejects it again.
    written.replace(place.with_name(f"{place.name}.error.json"))
    for file in item.files:
        _move(file, folder / REJECTED / file.relative_to(folder))


def finish_move(folder: Path, item: Item) -> bool:
    """Move a sidecar after its image, if we were killed in between; False: it has no such image."""
    if item.sidecar is None or item.image is not None:
        return False
    relative = item.sidecar.relative_to(folder)
    for place in (*sorted((folder / DONE).glob("*")), folder / REJECTED):
        beside = (place / relative).parent
        stored = [f for f in beside.glob("*") if f.stem == relative.stem and f.suffix != ".json"]
        if stored and not (place / relative).exists():
            _move(item.sidecar, place / relative)
            return True
    return False


def sweep(folder: Path, keep_days: int, today: date) -> None:
    """Remove what was stored long enough ago."""
    oldest = f"{today - timedelta(days=keep_days):%Y%m%d}"
    for day in (folder / DONE).glob("*"):
        if _DAY.fullmatch(day.name) and (day.name < oldest or keep_days == 0):
            shutil.rmtree(day, ignore_errors=True)


def _move(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    number = 1
    place = target
    while place.exists():
        number += 1
        place = target.with_name(f"{target.stem}~{number}{target.suffix}")
    file.rename(place)
