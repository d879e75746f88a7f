"""Whether a tenant's rules, of which one fires, make storing slower: a worker looks at them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tests.acceptance.conftest import RunningGateway
from tests.acceptance.routing.test_forwarding import routing
from tests.bench import gateways, table
from tests.bench.files import write_series
from tests.bench.measure import Target, c_store
from tests.routing_rules import add_rule, remove_rule

RULES = 100
TITLES = {
    "study stable": f"C-STORE 512 KB with {RULES} rules for stable studies",
    "instance received": f"  with {RULES} rules for each instance",
}


def measure(gateway: RunningGateway, folder: Path, count: int, rounds: int) -> None:
    """One series after the other, with rules and without, in turns."""
    for trigger, title in TITLES.items():
        rates: dict[bool, list[float]] = {True: [], False: []}
        for number in range(rounds):
            for ruled in (True, False) if number % 2 else (False, True):
                rates[ruled].append(_rate(gateway, folder, count, trigger if ruled else ""))
        table.rates(f"{title}, inst/s", rates[True], rates[False], ">= 0.9")


def _rate(gateway: RunningGateway, folder: Path, count: int, trigger: str) -> float:
    """Instances a second of one association; the rules' work after it is waited for, not timed."""
    batch = folder / "ruled"
    write_series(batch, count, side=512)
    names = [f"bench {number}" for number in range(RULES if trigger else 0)]
    with routing(gateway) as session:
        for name in names:
            action: dict[str, Any] = {"label": {"add": [name]}}
            condition = ("Modality", "equals", "CT" if name == names[0] else "XA")
            add_rule(session, name, "", condition, actions=[action], trigger=trigger)
    gateways.wait_until_idle(gateway)
    took = c_store(Target("Argonath", gateway.dicom_port, gateway.url), [batch])
    gateways.wait_until_stable(gateway)
    with routing(gateway) as session:
        for name in names:
            remove_rule(session, name)
    shutil.rmtree(batch)
    return count / took
