"""`make bench-routing`: how quick rules are, how soon forwarding begins, and how fast it is."""

from __future__ import annotations

import shutil
import subprocess
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BytesIO
from mmap import PAGESIZE, mmap
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from pydicom import dcmread
from pydicom.uid import CTImageStorage
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, evt

from extensions.routing.destinations import create_destination
from extensions.routing.rules import catching, facts
from extensions.routing.rules.rule import parse_rules
from gateway.phantom import ct_phantom
from tests.acceptance.conftest import RunningGateway
from tests.acceptance.routing.test_forwarding import routing
from tests.bench import gateways, ruled, table
from tests.bench.files import Instance, studies, write_series
from tests.bench.measure import Target, c_store
from tests.ports import free_port
from tests.routing_rules import add_rule, remove_rule

PER_MINUTE = 50
# Rows and columns of an instance, and how many for each of the larger: a turn takes some time.
SIZES = ((512, "512 KB", 1), (128, "32 KB", 4))
NAME = "bench"
AT_HAND = 512 << 20  # bytes, more than a turn receives


def run(options: Namespace, folder: Path) -> None:
    """Measure one after the other, print."""
    table.head("p50", "p95", "")
    evaluate(options.rules)
    with gateways.running() as gateway:
        gateways.wait_until_stable(gateway)  # its samples
        first_byte(gateway, folder, options.studies)
        table.head("with rules", "without", "ratio")
        ruled.measure(gateway, folder, options.instances, options.rounds)
        table.head("forwarding", "storescu", "ratio")
        for side, title, times in SIZES:
            sustained(gateway, folder, side, title, times * options.instances, options.rounds)


def evaluate(number: int) -> None:
    """Rules of five conditions each, of which some fire, with a study of four series."""
    raws = [_rule(index) for index in range(number)]
    rules = parse_rules(raws)
    metadata = dcmread(BytesIO(ct_phantom(1)[0]), stop_before_pixels=True).to_json_dict()
    series = {f"1.2.{n}": facts.of_series(metadata, instance_count=50) for n in range(4)}
    now = datetime.now(UTC)

    def look(known: Any) -> None:
        found = list(catching.caught(known, series, triggers=catching.WHEN_STABLE, now=now))
        assert len(found) == -(-number // 100)

    _milliseconds(f"{number:,} rules with a study, ms", lambda: look(rules), "p95 < 50")
    _milliseconds(f"  and {number:,} rules that are new, ms", lambda: look(parse_rules(raws)), "")


def _rule(index: int) -> dict[str, Any]:
    """One of a hundred fits the phantom; the others fail at the last of their conditions."""
    return {
        "name": f"rule {index}",
        "when": {
            "all": [
                {"field": "Modality", "operator": "equals", "value": "CT"},
                {"field": "instance_count", "operator": "at least", "value": 10},
                {"any": [
                    {"field": "StudyDescription", "operator": "contains", "value": "none"},
                    {"field": "SeriesDescription", "operator": "matches pattern",
                     "value": "Cyl*rods"},
                ]},
                {"field": "StudyID", "operator": "one of",
                 "value": [str(1 + index % 100), f"x{index}"]},
            ]
        },
        "actions": [{"label": {"add": ["bench"]}}],
    }  # fmt: skip


def _milliseconds(title: str, deed: Callable[[], None], wanted: str) -> None:
    deed()
    took = []
    for _ in range(20):
        begin = time.perf_counter()
        deed()
        took.append((time.perf_counter() - begin) * 1e3)
    table.percentiles(title, took, wanted)


def first_byte(gateway: RunningGateway, folder: Path, count: int) -> None:
    """Small studies at an even pace, from the row that calls one stable to its first instance.

    The receiver knows it when it has the whole of that: later than its first byte.
    """
    came: dict[str, float] = {}

    def store(event: evt.Event) -> int:
        came.setdefault(str(event.dataset.StudyInstanceUID), time.time())
        return 0x0000

    ae = AE(ae_title="RECEIVER")
    ae.add_supported_context(CTImageStorage, ALL_TRANSFER_SYNTAXES)
    server = ae.start_server(
        ("127.0.0.1", free_port()), block=False, evt_handlers=[(evt.EVT_C_STORE, store)]
    )
    assert server is not None
    ours = Target("Argonath", gateway.dicom_port, gateway.url)
    with _forwarding(gateway, server.server_address[1]):
        begin, sent = time.monotonic(), []
        for number, (instance, content) in enumerate(studies(9_000_000, count)):
            batch = folder / f"paced-{number}"
            batch.mkdir()
            (batch / "0.dcm").write_bytes(content)
            time.sleep(max(0.0, begin + number * 60 / PER_MINUTE - time.monotonic()))
            c_store(ours, [batch])
            sent.append(instance)
        gateway.wait_until(lambda: all(each.study in came for each in sent), 120)
    server.shutdown()
    stable = _stable_at(gateway)
    took = [(came[each.study] - stable[each.study]) * 1e3 for each in sent]
    table.percentiles(f"stable to first instance, {PER_MINUTE} studies/min, ms", took, "p95 < 1000")


def _stable_at(gateway: RunningGateway) -> dict[str, float]:
    with gateways.owner(gateway) as session:
        rows = session.execute(
            "SELECT payload ->> 'study_instance_uid', extract(epoch FROM min(created_at)) "
            "FROM outbox WHERE kind = 'study_stable' GROUP BY 1"
        ).fetchall()
    return {uid: float(at) for uid, at in rows}


def sustained(
    gateway: RunningGateway, folder: Path, side: int, title: str, count: int, rounds: int
) -> None:
    """One series after the other to dcmtk's storescp, by a rule and by storescu, in turns.

    It writes into memory (`docker/enter`'s /tmp): on a disk, what was written and deleted before
    makes its turns differ by more than what is measured.
    """
    disk, port = Path(mkdtemp(dir="/tmp")), free_port()
    receiver = subprocess.Popen(
        ["/usr/bin/storescp", "-od", disk, "-aet", "RECEIVER", str(port)],
        env={"TCP_NODELAY": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    rates: dict[str, list[float]] = {"forwarding": [], "storescu": []}
    ours = Target("Argonath", gateway.dicom_port, gateway.url)
    peer = Target("storescp", port, "", called="RECEIVER")

    def by_storescu(batch: Path, _last: Instance) -> None:
        _memory_at_hand().close()
        c_store(peer, [batch])

    def by_rule(batch: Path, last: Instance) -> None:
        c_store(ours, [batch])
        memory = _memory_at_hand()
        while not any(disk.iterdir()):
            time.sleep(0.001)
        memory.close()
        # To ask the ledger for it takes PostgreSQL some of the time that is measured.
        gateway.wait_until(lambda: len(list(disk.iterdir())) == count, 600)
        gateway.wait_until(lambda: _delivered(gateway, last) == count, 600)

    with _forwarding(gateway, port):
        ways = [("forwarding", by_rule), ("storescu", by_storescu)]
        for number in range(rounds):
            batch = folder / "batch"
            last = write_series(batch, count, side=side)
            gateways.wait_until_idle(gateway)
            for name, send in ways if number % 2 else ways[::-1]:
                send(batch, last)
                rates[name].append(_rate(disk, count))
            shutil.rmtree(batch)
    receiver.terminate()
    receiver.wait()
    disk.rmdir()
    table.rates(
        f"{count} instances of {title}, inst/s", rates["forwarding"], rates["storescu"], ">= 0.8"
    )


def _memory_at_hand() -> mmap:
    """To be given back when a turn begins, so that its receiver finds pages to write into.

    A virtual machine's host takes free memory away after a moment, and to get a page back takes
    longer than to send what it holds: storing into the archive would use up those that are there.
    """
    memory = mmap(-1, AT_HAND)
    for page in range(0, AT_HAND, PAGESIZE):
        memory[page] = 1
    return memory


def _rate(disk: Path, count: int) -> float:
    """Instances a second, by the times at which the receiver wrote the first and the last."""
    files = list(disk.iterdir())
    assert len(files) == count
    times = sorted(file.stat().st_mtime for file in files)
    for file in files:
        file.unlink()
    return (count - 1) / (times[-1] - times[0])


def _delivered(gateway: RunningGateway, last: Instance) -> int:
    with gateways.owner(gateway) as session:
        row = session.execute(
            "SELECT count(*) FROM delivery_instance i JOIN delivery d USING (delivery_id) "
            "WHERE d.study_instance_uid = %s AND i.state IN ('delivered', 'verified')",
            [last.study],
        ).fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def _forwarding(gateway: RunningGateway, port: int) -> Iterator[None]:
    """A rule that forwards everything to the receiver at `port`."""
    name = f"{NAME}-{port}"
    with routing(gateway) as session:
        settings = {"host": "127.0.0.1", "port": port, "called_aet": "RECEIVER"}
        create_destination(session, name=name, kind="dimse", settings=settings, actor="bench")
        add_rule(session, name, name)
    yield
    with routing(gateway) as session:
        remove_rule(session, name)
