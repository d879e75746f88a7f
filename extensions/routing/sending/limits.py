"""When and how fast a destination takes studies. Pure.

Times are those of the hospital's clock; a window may go over midnight.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from gateway.errors import InvalidInput

MOST_AT_ONCE = 4
_CLOCK = r"([01]\d|2[0-3]):([0-5]\d)"
_WINDOW = re.compile(f"{_CLOCK}-{_CLOCK}")


def _window(value: str) -> str:
    value = value.replace(" ", "")
    if value and (not _WINDOW.fullmatch(value) or value[:5] == value[6:]):
        raise ValueError("must be like 20:00-06:00")
    return value


type Hours = Annotated[str, AfterValidator(_window)]
"""``HH:MM-HH:MM``, the end excluded; empty: always."""


class Limits(BaseModel):
    """What an admin sets for a destination."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    concurrency: int = Field(
        default=1, ge=1, le=MOST_AT_ONCE, description="Studies at once, each over its own line."
    )
    bandwidth: int = Field(default=0, ge=0, le=10**7, description="KB/s on average; 0: any.")
    window: Hours = Field(default="", description="Hours in which it takes anything.")
    off_peak: Hours = Field(default="20:00-06:00", description="Hours for priority off-peak.")


def parse_limits(given: Mapping[str, Any]) -> Limits:
    """Limits from a form or a row; raises `InvalidInput` that names each wrong field."""
    try:
        return Limits.model_validate(dict(given))
    except ValidationError as error:
        told = [
            f"{e['loc'][0]}: {str(e['msg']).removeprefix('Value error, ')}" for e in error.errors()
        ]
        raise InvalidInput("; ".join(told) + ".") from None


def opens_in_s(hours: str, now: datetime) -> float:
    """Seconds until the hours begin; 0 within them."""
    if not hours:
        return 0.0
    begin, end = (time.fromisoformat(part) for part in hours.split("-"))
    clock = now.time()
    within = begin <= clock < end if begin < end else clock >= begin or clock < end
    if within:
        return 0.0
    opens = now.replace(hour=begin.hour, minute=begin.minute, second=0, microsecond=0)
    return (opens - now + timedelta(days=clock >= begin)).total_seconds()


def wait_s(limits: Limits, priority: str, now: datetime) -> float:
    """Seconds until a delivery of that priority may go. Both hours must fit, if both are set."""
    closed_s = opens_in_s(limits.window, now)
    if priority != "off-peak":
        return closed_s
    return max(closed_s, opens_in_s(limits.off_peak, now))


@dataclass
class Throttle:
    """Keeps one line of a destination to its share of the bandwidth."""

    limits: Limits
    began: float
    sent_bytes: int = 0

    def pause_s(self, size_bytes: int, now: float) -> float:
        """Seconds to wait after so many more bytes, on the clock of `began`."""
        if not self.limits.bandwidth:
            return 0.0
        self.sent_bytes += size_bytes
        due_s = self.sent_bytes * self.limits.concurrency / (self.limits.bandwidth * 1000)
        return max(0.0, self.began + due_s - now)
