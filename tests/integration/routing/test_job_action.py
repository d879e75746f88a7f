"""A rule starts a job of an extension, goes on when it is done, and another sees what it found."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import extensions
from extensions.routing import labels, rulebook, runs
from extensions.routing.rules.rules_yaml import load_rules
from gateway import jobs, plugins, results
from gateway.actions import Actions
from gateway.db import Database
from gateway.errors import InvalidInput
from gateway.settings import Settings
from tests.integration.routing.conftest import SERIES, STUDY, FakeArchive, Receiver, make_file
from tests.integration.routing.test_actions import arrive, pacs, rule, run_of, state  # noqa: F401
from tests.integration.worker_host import WorkerHost, until

MANUAL = Path(extensions.__path__[0], "README.md").read_text(encoding="utf-8")
EXAMPLE = dict(re.findall(r"`(scan_length/\w+\.py)`[^`]*```python\n(.*?)```", MANUAL, re.DOTALL))
RULES = MANUAL.split("```yaml\n")[1].split("```")[0]

TRIAL = """
import time
from pathlib import Path
from gateway.actions import RuleJob
from gateway.errors import InvalidInput
from gateway.hookspecs import hookimpl
from gateway.jobs import task

FOLDER = Path(__file__).parent

@hookimpl
def rule_jobs():
    return [RuleJob("count", "Count"), RuleJob("wait", "Wait")]

@task
def count(context, study_uid, series_uid):
    with open(FOLDER / "notes", "a") as notes:
        notes.write(f"{study_uid} {series_uid}\\n")
    if (FOLDER / "broken").exists():
        raise InvalidInput("It has no slices.")

@task
def wait(context, study_uid, series_uid):
    while not (FOLDER / "go").exists():
        time.sleep(0.02)
"""


def install(site: Path, name: str, **modules: str) -> Path:
    """An extension as a package from elsewhere has it; its folder."""
    package = site / name
    package.mkdir(parents=True)
    for module, code in modules.items():
        (package / f"{module}.py").write_text(code)
    information = site / f"{name}-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (information / "entry_points.txt").write_text(f"[argonath.extensions]\n{name} = {name}\n")
    return package


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """What is installed: the extension of the manual, and `trial`."""
    modules = {Path(name).stem: code for name, code in EXAMPLE.items()}
    install(tmp_path / "site", "scan_length", **modules)
    install(tmp_path / "site", "trial", __init__='"""Trial."""\n', worker=TRIAL)
    return tmp_path / "site"


@pytest.fixture
def host(settings: Settings, database: Database, site: Path) -> Iterator[WorkerHost]:
    """A worker host with these extensions, for a study that is stable."""
    host = WorkerHost(settings, site)
    yield host
    host.kill()


@pytest.fixture
def known(site: Path, monkeypatch: pytest.MonkeyPatch) -> Actions:
    """What the portal checks rules by where these extensions are installed."""
    monkeypatch.syspath_prepend(site)
    for name in [name for name in sys.modules if name.partition(".")[0] == "scan_length"]:
        monkeypatch.delitem(sys.modules, name)
    return Actions.of(plugins.load("portal", plugins.discover()))


def labelled(database: Database) -> list[str]:
    with database.tenant_session("north") as session:
        return labels.of_study(session, STUDY)


def notes(site: Path) -> list[str]:
    """For what the job of `trial` was called."""
    file = site / "trial" / "notes"
    return file.read_text().splitlines() if file.exists() else []


def trial(task: str) -> dict[str, dict[str, str]]:
    return {"job": {"extension": "trial", "task": task}}


def test_the_manual_s_extension_measures_and_a_later_rule_sees_what_it_found(
    database: Database,
    archive: FakeArchive,
    pacs: Receiver,  # noqa: F811
    known: Actions,
    host: WorkerHost,
) -> None:
    archive.add(*(make_file(number) for number in range(1, 62)))
    with database.tenant_session("north") as session:
        rulebook.save(session, load_rules(RULES, known), based_on=0, actor="test")
    with database.system_session("test") as session:
        session.execute("UPDATE study SET state = 'stable'")
    arrive(database)
    until(lambda: labelled(database) == ["long scan"])
    with database.tenant_session("north") as session:
        (found,) = results.of_study(session, STUDY)
    assert (found.name, found.value, found.extension) == ("length_cm", 30.5, "scan_length")
    until(lambda: state(database, "Measure CT") == "done")


def test_a_rule_with_a_job_that_the_installation_lacks_is_not_saved(known: Actions) -> None:
    with pytest.raises(InvalidInput, match=r"rules\[0\].actions\[0\].*use one of measure"):
        load_rules(RULES.replace("task: measure", "task: guess"), known)


def test_the_lines_after_a_job_wait_until_it_is_done(
    database: Database,
    archive: FakeArchive,
    pacs: Receiver,  # noqa: F811
    site: Path,
    host: WorkerHost,
) -> None:
    archive.add(make_file(1))
    rule(database, trial("wait"), {"label": {"add": ["after"]}}, priority="urgent")
    arrive(database)
    until(lambda: job_states(database, "wait") == [("running", "urgent")])
    assert (state(database), labelled(database)) == ("running", [])
    (site / "trial" / "go").touch()
    until(lambda: labelled(database) == ["after"])


def test_a_job_is_started_once_for_each_time_that_its_rule_begins(
    database: Database,
    archive: FakeArchive,
    pacs: Receiver,  # noqa: F811
    site: Path,
    host: WorkerHost,
) -> None:
    archive.add(make_file(1))
    rule(database, trial("count"))
    arrive(database)
    until(lambda: state(database) == "done")
    do_again(database)  # as after a worker that was killed before it could say that it is done
    until(lambda: state(database) == "done")
    assert notes(site) == [f"{STUDY} "]
    archive.add(make_file(2))
    arrive(database, 2)
    until(lambda: len(notes(site)) == 2)


def test_a_job_of_a_rule_for_each_series_is_told_the_series(
    database: Database,
    archive: FakeArchive,
    pacs: Receiver,  # noqa: F811
    site: Path,
    host: WorkerHost,
) -> None:
    archive.add(make_file(1))
    rule(database, trial("count"), trigger="series stable")
    arrive(database)
    until(lambda: notes(site) == [f"{STUDY} {SERIES}"])


def test_a_job_that_fails_fails_its_rule_and_starts_anew_when_somebody_releases_it(
    database: Database,
    archive: FakeArchive,
    pacs: Receiver,  # noqa: F811
    site: Path,
    host: WorkerHost,
) -> None:
    archive.add(make_file(1))
    (site / "trial" / "broken").touch()
    rule(database, trial("count"), {"label": {"add": ["counted"]}})
    arrive(database)
    until(lambda: state(database) == "failed")
    run = run_of(database)
    assert run is not None
    assert "trial: count: " in run.cause
    assert "It has no slices." in run.cause
    assert labelled(database) == []
    (site / "trial" / "broken").unlink()
    with database.tenant_session("north") as session:
        runs.release(session, run.run_id, actor="anna")
    until(lambda: labelled(database) == ["counted"])
    assert len(notes(site)) == 2


def test_an_extension_that_the_tenant_has_switched_off_does_no_job(
    database: Database,
    archive: FakeArchive,
    pacs: Receiver,  # noqa: F811
    site: Path,
    host: WorkerHost,
) -> None:
    archive.add(make_file(1))
    with database.system_session("test") as session:
        session.execute("INSERT INTO extension_setting VALUES ('north', 'trial', false)")
    rule(database, trial("count"))
    arrive(database)
    until(lambda: state(database) == "failed")
    run = run_of(database)
    assert run is not None
    assert "Switch it on under Extensions" in run.cause
    assert notes(site) == []


def job_states(database: Database, task: str) -> list[tuple[str, str]]:
    """State and queue of each job."""
    with database.system_session("test") as session:
        rows = session.execute("SELECT state, queue FROM job WHERE task = %s", [task])
        return [(row["state"], row["queue"]) for row in rows]


def do_again(database: Database) -> None:
    run = run_of(database)
    assert run is not None
    with database.tenant_session("north") as session:
        session.execute("UPDATE rule_run SET state = 'running', next_step = 0")
        jobs.enqueue(
            session,
            tenant_id="north",
            extension="routing",
            task="act",
            arguments={"run_id": run.run_id},
        )
