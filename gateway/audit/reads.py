"""Reads on their way into the audit: counted in memory, written by a thread of their own.

A viewer fetches hundreds of frames of a study. The first read of a study by somebody from an
address is written at the next beat; those of the following minute are one more record with their
number, and so on as long as they go on. A refusal is written before the answer.
"""

from __future__ import annotations

import logging
import platform
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice, takewhile
from typing import NamedTuple

from gateway import correlation
from gateway.audit import Record, Verdict
from gateway.errors import GatewayError

log = logging.getLogger(__name__)

BEAT_S = 0.25
BATCH = 500
WINDOW_S = 60.0
AT_MOST = 10_000
_NAMED_AT_MOST = 8
_PAUSE_AFTER_FAILURE_S = 1.0


class Read(NamedTuple):
    """Who reads what: reads with the same are counted together. `resource`: e.g. `study 1.2.3`."""

    actor: str
    tenant_id: str | None
    origin: str
    action: str
    resource: str
    verdict: Verdict = "allowed"


@dataclass(slots=True)
class _Count:
    """What was read in a minute that began at `opened` (of the clock) and `since`."""

    opened: float
    since: float
    requests: int = 0
    correlation: str = ""  # of the first of them
    ways: dict[str, int] = field(default_factory=dict)
    series: dict[str, None] = field(default_factory=dict)
    more_series: bool = False

    def add(self, way: str, series: str) -> None:
        self.requests += 1
        if not self.correlation:
            self.correlation = correlation.current() or correlation.new()
        if way not in self.ways and len(self.ways) >= _NAMED_AT_MOST:
            way = "others"
        self.ways[way] = self.ways.get(way, 0) + 1
        if series and series not in self.series:
            if len(self.series) < _NAMED_AT_MOST:
                self.series[series] = None
            else:
                self.more_series = True

    def detail(self, until: float) -> str:
        """E.g. `212 frames, metadata; series 1.2.3, 1.2.4; from 10:00:01Z to 10:01:01Z`."""
        parts = [", ".join(f"{n} {way}" if n > 1 else way for way, n in self.ways.items())]
        if self.series:
            parts.append(f"series {', '.join(self.series)}{' and more' * self.more_series}")
        if until - self.since > 2:
            parts.append(f"from {_time(self.since)} to {_time(until)}")
        return "; ".join(parts)


def _time(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%H:%M:%SZ}"


class Reads:
    """Counts reads until `write` has them; at most `at_most` different ones wait."""

    def __init__(
        self,
        write: Callable[[Sequence[Record]], None],
        *,
        at_most: int = AT_MOST,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._write = write
        self._at_most = at_most
        self._clock = clock
        self._now = now
        self._lock = threading.Lock()
        self._counts: OrderedDict[Read, _Count] = OrderedDict()  # the one opened first is first
        self._fresh: list[Read] = []
        self._unwritten: deque[Record] = deque()
        self._lost = 0
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread()

    # Any thread ---------------------------------------------------------------------------------

    def note(self, read: Read, way: str, series: str = "") -> None:
        """Count one read; `way` says how it was made, e.g. `metadata`. Microseconds."""
        with self._lock:
            count = self._counts.get(read)
            if count is None:
                count = self._open(read)
                if count is None:
                    self._lost += 1
                    return
                self._fresh.append(read)
                if len(self._fresh) == BATCH:
                    self._wake.set()
            count.add(way, series)

    def deny(self, read: Read, way: str) -> None:
        """Write a refusal before the answer; the same ones of the following minute are counted."""
        with self._lock:
            count = self._counts.get(read)
            first = count is None
            if first:
                count = self._open(read)
            elif count is not None:
                count.add(way, "")
        if not first:
            return
        record = Record(*_fields(read), detail=way, correlation=correlation.current())
        try:
            self._write([record])
        except GatewayError as error:
            log.error("the audit record of a refusal must wait: %s", error.code)
            with self._lock:
                if count is None:
                    self._lost += 1
                else:
                    self._unwritten.append(record)

    def _open(self, read: Read) -> _Count | None:
        if len(self._counts) + len(self._unwritten) >= self._at_most:
            return None
        count = self._counts[read] = _Count(self._clock(), self._now())
        return count

    # The writer's thread ------------------------------------------------------------------------

    def start(self, written: Callable[[], None] = lambda: None) -> None:
        """Write every 250 ms, or when 500 wait; `written` is called after each beat that could."""
        self._thread = threading.Thread(
            target=self._work, args=[written], name="argonath-audit", daemon=True
        )
        self._thread.start()

    def close(self, wait_s: float = 2.0) -> None:
        """End the thread and write what waits, minutes that are not over included."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(wait_s)
        try:
            self.flush(everything=True)
        except GatewayError as error:
            log.error("%d audit records of reads are lost: %s", len(self._unwritten), error.code)

    def flush(self, *, everything: bool = False) -> None:
        """Write what is due; raises what `write` raises, and keeps it then."""
        if everything or not self._unwritten:  # else it would grow while the database is away
            self._collect(everything=everything)
        while batch := self._next_batch():
            self._write(batch)
            with self._lock:
                for _ in batch:
                    self._unwritten.popleft()
        if self._lost:
            lost = self._lost
            self._write([_lost_record(lost)])
            with self._lock:
                self._lost -= lost

    def _work(self, written: Callable[[], None]) -> None:
        while not self._stop.is_set():
            self._wake.wait(BEAT_S)
            self._wake.clear()
            try:
                self.flush()
                written()
            except GatewayError as error:
                log.warning("audit records of reads wait: %s", error.code)
                self._stop.wait(_PAUSE_AFTER_FAILURE_S)
            except Exception:
                log.exception("audit records of reads wait")
                self._stop.wait(_PAUSE_AFTER_FAILURE_S)

    def _next_batch(self) -> list[Record]:
        with self._lock:
            return list(islice(self._unwritten, BATCH))

    def _collect(self, *, everything: bool) -> None:
        """Make records of first reads, and of minutes that are over."""
        clock, now = self._clock(), self._now()
        with self._lock:
            fresh, self._fresh = self._fresh, []
            for read in fresh:
                count = self._counts[read]
                self._take(read, count, now)
                self._counts[read] = _Count(count.opened, now)  # in its place
            until = clock if everything else clock - WINDOW_S
            for read, count in list(
                takewhile(lambda it: it[1].opened <= until, self._counts.items())
            ):
                del self._counts[read]
                if count.requests:
                    self._take(read, count, now)
                    self._counts[read] = _Count(clock, now)

    def _take(self, read: Read, count: _Count, now: float) -> None:
        record = Record(*_fields(read), detail=count.detail(now), correlation=count.correlation)
        self._unwritten.append(record)


def _fields(read: Read) -> tuple[str, str, str, Verdict, str | None, str]:
    return read.actor, read.action, read.resource, read.verdict, read.tenant_id, read.origin


def _lost_record(number: int) -> Record:
    return Record(
        "argonath",
        "audit.lost-reads",
        f"node {platform.node()}",
        "failed",
        detail=f"{number} reads could not be recorded: too many waited for the database.",
    )
