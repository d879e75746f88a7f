"""Moving dates by whole days; times of day stay. No I/O."""

from __future__ import annotations

import re
from datetime import date, timedelta

# DA and DT of PS3.5 6.2, DT perhaps shortened; and the DA of ACR-NEMA with points.
_DATE = re.compile(r"(\d{4})\.?(\d{2})?\.?(\d{2})?(.*)", re.DOTALL)


def shifted(value: str, days: int) -> str:
    """A DA or DT moved by `days` at the precision that it has; empty where it is not a date."""
    match = _DATE.fullmatch(value.strip())
    if match is None:
        return ""
    year, month, day, rest = match.groups()
    if rest and not re.fullmatch(r"\d{0,6}(\.\d+)?([+-]\d{4})?", rest):
        return ""
    try:
        moved = date(int(year), int(month or 1), int(day or 1)) + timedelta(days)
    except (ValueError, OverflowError):
        return ""
    return (
        f"{moved.year:04}{moved.month:02}{moved.day:02}"[: 8 if day else 6 if month else 4] + rest
    )


def spellings(value: str) -> list[str]:
    """How people write a DA or the date of a DT in a text; none if it is not a full date."""
    found = re.match(r"(\d{4})\.?(\d{2})\.?(\d{2})", value)
    if found is None:
        return []
    y, m, d = found.groups()
    return [
        y + m + d,
        *(mark.join(order) for mark in "-./" for order in ((y, m, d), (d, m, y), (m, d, y))),
    ]
