"""When a source is asked, and for which dates. Pure: the time is always given."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

_WINDOW = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\s*-\s*([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True)
class Window:
    """The hours of the day in which a source may be asked; over midnight if it ends earlier."""

    start: time
    end: time
    zone: ZoneInfo

    @classmethod
    def parse(cls, text: str, zone: ZoneInfo) -> Window | None:
        """From ``22:00-06:00``; empty: None, all day. Raises `ValueError`."""
        if not text.strip():
            return None
        found = _WINDOW.fullmatch(text.strip())
        if found is None:
            raise ValueError("must be like 22:00-06:00, or empty for all day")
        start_hour, start_minute, end_hour, end_minute = map(int, found.groups())
        window = cls(time(start_hour, start_minute), time(end_hour, end_minute), zone)
        if window.start == window.end:
            raise ValueError("must end at another time than it starts, or be empty for all day")
        return window

    def is_open(self, now: datetime) -> bool:
        """Whether `now` (with a time zone) is inside; the end is outside."""
        local = now.astimezone(self.zone).time()
        if self.start < self.end:
            return self.start <= local < self.end
        return local >= self.start or local < self.end

    def opens_after(self, now: datetime) -> datetime:
        """`now` if it is open, else when it next opens."""
        if self.is_open(now):
            return now
        local = now.astimezone(self.zone)
        opening = datetime.combine(local.date(), self.start, tzinfo=self.zone)
        return opening if opening > now else opening + timedelta(days=1)


def next_run(window: Window | None, now: datetime, pause_s: float) -> datetime:
    """When to run again: after the pause, but not while the window is closed."""
    wanted = now + timedelta(seconds=pause_s)
    return window.opens_after(wanted) if window else wanted


def study_dates(today: date, look_back_days: int) -> str:
    """A range for StudyDate (PS3.4 C.2.2.2.5), e.g. ``20261114-``; empty: all."""
    if look_back_days == 0:
        return ""
    return f"{today - timedelta(days=look_back_days):%Y%m%d}-"
