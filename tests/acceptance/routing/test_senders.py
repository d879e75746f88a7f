"""Rules know who sent: also when a study is stable, and of each series."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import psycopg
from pydicom import dcmread
from pydicom.uid import generate_uid

from extensions.routing import facts_store, runs
from gateway.phantom import ct_phantom
from tests.acceptance.conftest import RunningGateway, study_uid_of
from tests.acceptance.routing.test_forwarding import routing
from tests.acceptance.stow import phantom, stow
from tests.routing_rules import Condition, add_rule, remove_rule


@contextmanager
def rules(
    gateway: RunningGateway, *rules: tuple[str, tuple[Condition, ...]], trigger: str
) -> Iterator[None]:
    """Rules of north with these names, that only label."""
    with routing(gateway) as session:
        for name, conditions in rules:
            label = [{"label": {"add": ["seen"]}}]
            add_rule(session, name, "", *conditions, actions=label, trigger=trigger)
    try:
        yield
    finally:
        with routing(gateway) as session:
            for name, _ in rules:
                remove_rule(session, name)


def fired(gateway: RunningGateway, study: str) -> set[tuple[str, str]]:
    """Which rules have begun, with which series (empty: with the study)."""
    with routing(gateway) as session:
        return {
            (run.rule_name, run.series_instance_uid) for run in runs.runs_of_study(session, study)
        }


def is_done(gateway: RunningGateway, study: str) -> bool:
    """Whether the study is stable, and everybody has done with it what they were told to."""
    with psycopg.connect(
        f"host={gateway.data}/run/postgresql user=argonath dbname=argonath"
    ) as owner:
        found = owner.execute(
            "SELECT FROM study s WHERE study_instance_uid = %s AND state = 'stable' "
            "AND NOT EXISTS (SELECT FROM outbox WHERE dispatched_at IS NULL "
            "                AND payload->>'study_instance_uid' = s.study_instance_uid) "
            "AND NOT EXISTS (SELECT FROM job j WHERE j.study_instance_uid = s.study_instance_uid "
            "                AND j.state IN ('waiting', 'running'))",
            [study],
        ).fetchone()
    return found is not None


def write(folder: Path, content: bytes) -> Path:
    """A file of this content."""
    file = folder / f"{uuid.uuid4().hex}.dcm"
    file.write_bytes(content)
    return file


def placed(content: bytes, series_uid: str) -> bytes:
    """The same object as another instance, of this series of its study."""
    ds = dcmread(BytesIO(content))
    ds.SeriesInstanceUID = series_uid
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    buffer = BytesIO()
    ds.save_as(buffer)
    return buffer.getvalue()


def sent_by(gateway: RunningGateway, study: str) -> dict[str, str]:
    """The calling AE title that rules see, by series."""
    with routing(gateway) as session:
        seen = facts_store.of_study(session, study).series
    return {uid: "".join(facts.get("calling_aet", [])) for uid, facts in seen.items()}


HERE: Condition = ("sender", "equals", "127.0.0.1")


def test_a_study_that_is_stable_tells_rules_both_ae_titles_and_the_address(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    file = write(tmp_path, ct_phantom(1, seed=uuid.uuid4().hex)[0])
    study = study_uid_of(file)
    calling: Condition = ("calling_aet", "equals", "CT ROOM 1")
    with rules(
        gateway,
        ("ours", (calling, ("called_aet", "equals", "NORTH"), HERE)),
        ("another's", (("called_aet", "equals", "SOUTH"),)),
        ("from elsewhere", (calling, ("sender", "equals", "10.0.0.7"))),
        trigger="study stable",
    ):
        assert gateway.storescu(file, calling="CT ROOM 1").returncode == 0
        gateway.wait_until(lambda: is_done(gateway, study))
        assert fired(gateway, study) == {("ours", "")}


def test_a_study_stored_by_stow_rs_tells_rules_the_address_alone(gateway: RunningGateway) -> None:
    key = gateway.argonath("api-key", "create", "--tenant", "north", "--label", "CT ROOM 1")
    file = phantom(uuid.uuid4().hex)
    study = str(dcmread(BytesIO(file)).StudyInstanceUID)
    with rules(
        gateway,
        ("by address", (HERE,)),
        ("by AE title", (("calling_aet", "matches pattern", "*"),)),
        trigger="study stable",
    ):
        assert stow(gateway, file, key=key).status_code == 200
        gateway.wait_until(lambda: is_done(gateway, study))
        assert fired(gateway, study) == {("by address", "")}


def test_two_senders_of_one_study_are_told_apart_by_series_also_after_a_restart(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    content = ct_phantom(1, seed=uuid.uuid4().hex)[0]
    study = str(dcmread(BytesIO(content)).StudyInstanceUID)
    series = [str(generate_uid()) for _ in range(3)]
    of_ct, of_mr, more, last = (
        write(tmp_path, placed(content, series[number])) for number in (0, 1, 1, 2)
    )
    with rules(
        gateway,
        ("CT", (("calling_aet", "equals", "CT1"),)),
        ("MR", (("calling_aet", "equals", "MR1"),)),
        trigger="series stable",
    ):
        assert gateway.storescu(of_ct, calling="CT1").returncode == 0
        assert gateway.storescu(of_mr, calling="MR1").returncode == 0
        gateway.wait_until(lambda: is_done(gateway, study))
        assert fired(gateway, study) == {("CT", series[0]), ("MR", series[1])}
        gateway.kill("node:orthanc")
        gateway.wait_until(gateway.is_ready)
        assert gateway.storescu(more, calling="WORKSTATION").returncode == 0
        assert gateway.storescu(last, calling="CT1").returncode == 0
        gateway.wait_until(lambda: is_done(gateway, study))
        assert fired(gateway, study) == {("CT", series[0]), ("MR", series[1]), ("CT", series[2])}
        assert sent_by(gateway, study) == dict(zip(series, ("CT1", "MR1", "CT1"), strict=True))


def test_who_comes_after_a_study_by_stow_rs_is_told_by_their_ae_title(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    content = phantom(uuid.uuid4().hex)
    told = dcmread(BytesIO(content))
    second = str(generate_uid())
    assert stow(gateway, content).status_code == 200
    assert gateway.storescu(write(tmp_path, placed(content, second))).returncode == 0
    gateway.wait_until(lambda: is_done(gateway, str(told.StudyInstanceUID)))
    assert sent_by(gateway, str(told.StudyInstanceUID)) == {
        str(told.SeriesInstanceUID): "",
        second: "CT1",
    }
