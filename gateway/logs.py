"""JSON lines on standard error. No PHI: log UIDs and counts, never names, ids or dates."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from gateway import correlation

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line; what is given as ``extra=`` becomes fields of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if identifier := correlation.current():
            line["request"] = identifier  # as nginx's access log calls it
        line |= {k: v for k, v in record.__dict__.items() if k not in _STANDARD}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(level: str) -> None:
    """Send every log record of this process to standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # These log each request with its query string, in which patients' names stand.
    for name in ("httpx", "httpcore", "pynetdicom"):
        logging.getLogger(name).setLevel(logging.WARNING)
