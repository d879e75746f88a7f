"""Speed as ratios: beside stock Orthanc, of many tenants to few, of a large archive to a small."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.bench import archive, routing, speed, table, tenants


def main() -> None:
    """Run what the first word asks for; exits with 1 if something is not as wanted."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    kinds = parser.add_subparsers(required=True)
    kind = kinds.add_parser("speed", help="beside stock Orthanc")
    kind.add_argument("--rounds", type=int, default=5, help="of storing")
    kind.add_argument("--studies", type=int, default=2000)
    kind.add_argument("--tenants", type=int, default=50)
    kind.set_defaults(run=speed.run)
    kind = kinds.add_parser("tenants", help="many tenants beside few")
    kind.add_argument("--tenants", type=int, nargs=2, default=[10, 10_000])
    kind.add_argument("--studies", type=int, default=2000)
    kind.add_argument("--rounds", type=int, default=7, help="of storing")
    kind.set_defaults(run=tenants.run)
    kind = kinds.add_parser("archive", help="a large archive after a small one, beside stock")
    kind.add_argument("--studies", type=int, nargs=2, default=[2000, 50_000])
    kind.set_defaults(run=archive.run)
    kind = kinds.add_parser("routing", help="rules, and forwarding beside storescu")
    kind.add_argument("--rules", type=int, default=1000)
    kind.add_argument("--studies", type=int, default=100, help="at 50 a minute")
    kind.add_argument("--instances", type=int, default=300)
    kind.add_argument("--rounds", type=int, default=3, help="of forwarding")
    kind.set_defaults(run=routing.run)
    options = parser.parse_args()
    with (
        table.judged() as missed,
        tempfile.TemporaryDirectory(prefix="bench-", dir="/data") as folder,
    ):
        options.run(options, Path(folder))
    if missed:
        sys.exit("Not as wanted:\n" + "\n".join(missed))


if __name__ == "__main__":
    main()
