"""`python -m gateway.waiting`: ends when the database answers and has the present schema.

Every part of the gateway begins with it, all at once: so it loads nothing that it does not need.
"""

from __future__ import annotations

import os
import sys
import time

import psycopg

from gateway.migrate import migrations, pending
from gateway.plugins import discover
from gateway.settings import Settings

LONGEST_S = 120.0


def main() -> int:
    """0; or 75 (EX_TEMPFAIL) after `LONGEST_S`, with a sentence on standard error."""
    settings = Settings.load()
    wanted = migrations(discover(settings.blocked_extensions))
    end = time.monotonic() + LONGEST_S
    while time.monotonic() < end:
        try:
            if not pending(settings.database_url, wanted):
                return 0
        except psycopg.Error:
            pass
        time.sleep(0.1)
    print(f"The database is not ready after {LONGEST_S:g} s.", file=sys.stderr)
    return os.EX_TEMPFAIL


if __name__ == "__main__":
    sys.exit(main())
