"""Jobs run at least once, whatever is killed, and an extension hears each event once."""

from __future__ import annotations

import math
import os
import signal
import textwrap
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis

from gateway import dispatcher, jobs, plugins
from gateway.db import Database, Row
from gateway.dispatcher import Dispatcher
from gateway.events import StudyStable, publish
from gateway.settings import Settings
from tests.integration.worker_host import WorkerHost, until
from tests.timing import soonest

WORKER = """
import os, time
from pathlib import Path
from gateway.errors import ArchiveUnavailable, InvalidInput
from gateway.hookspecs import hookimpl
from gateway.jobs import Postpone, task

def _note(context, word):
    with open(Path(os.environ["TRIAL_NOTES"]), "a") as notes:
        notes.write(f"{context.tenant_id} {word} {time.time()} {os.getpid()}\\n")

@hookimpl
def study_stable(event, context):
    _note(context, f"stable-{event.study_instance_uid}-{event.arrival}")

@task
def good(context, word):
    _note(context, word)

@task
def slow(context, seconds):
    _note(context, "slow-begins")
    time.sleep(seconds)
    _note(context, "slow-ends")

@task
def waits(context):
    _note(context, "begins")
    while not Path(os.environ["TRIAL_NOTES"]).with_name("go").exists():
        time.sleep(0.05)
    _note(context, "ends")

@task
def flaky(context, times):
    _note(context, "flaky")
    if len(Path(os.environ["TRIAL_NOTES"]).read_text().split("flaky")) <= times:
        raise ArchiveUnavailable()

@task
def refused(context):
    _note(context, "refused")
    raise InvalidInput("It is wrong.")

@task
def broken(context):
    raise ValueError("DOE^JANE")

@task
def postponed(context):
    _note(context, "postponed")
    if len(Path(os.environ["TRIAL_NOTES"]).read_text().split("postponed")) <= 4:
        raise Postpone(0.05)

def hidden(context):
    _note(context, "hidden")
"""


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an installed extension `trial`, and its notes."""
    package = tmp_path / "site" / "trial_extension"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('"""Trial."""\n')
    (package / "worker.py").write_text(textwrap.dedent(WORKER))
    information = tmp_path / "site" / "trial-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: trial\nVersion: 1\n")
    (information / "entry_points.txt").write_text(
        "[argonath.extensions]\ntrial = trial_extension\n"
    )
    monkeypatch.setenv("TRIAL_NOTES", str(tmp_path / "notes"))
    (tmp_path / "notes").touch()
    return tmp_path


@pytest.fixture
def host(trial: Path, settings: Settings, database: Database) -> Iterator[WorkerHost]:
    """A worker host with that extension."""
    host = WorkerHost(settings, trial / "site")
    yield host
    host.kill()


def notes(trial: Path) -> list[list[str]]:
    return [line.split() for line in (trial / "notes").read_text().splitlines()]


def words(trial: Path) -> list[str]:
    return [line[1] for line in notes(trial)]


def enqueue(database: Database, task: str, **options: object) -> int:
    arguments = options.pop("arguments", {})
    with database.tenant_session("north") as session:
        job_id = jobs.enqueue(
            session,
            tenant_id="north",
            extension="trial",
            task=task,
            arguments=arguments,  # type: ignore[arg-type]
            **options,  # type: ignore[arg-type]
        )
    assert job_id is not None
    return job_id


def row(database: Database, job_id: int) -> Row:
    with database.tenant_session("north") as session:
        found = session.execute("SELECT * FROM job WHERE job_id = %s", [job_id]).fetchone()
    assert found is not None
    return found


def ended(database: Database, job_id: int, seconds: float = 20) -> Row:
    until(lambda: row(database, job_id)["state"] in {"done", "failed"}, seconds)
    return row(database, job_id)


def test_a_job_is_handed_over_at_once_and_not_at_the_next_tick(
    database: Database, settings: Settings, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "TICK_S", 600)
    stop = threading.Event()
    with closing(redis.Redis.from_url(redis_url)) as connection:
        connection.flushdb()
        made = Dispatcher(settings, database, connection, plugins.load("worker", []))
        thread = threading.Thread(target=made.run, args=[stop])
        thread.start()
        try:
            for number in range(1, 6):  # of which the first may meet it while it starts
                enqueue(database, "good", arguments={"word": "w"})
                until(lambda n=number: connection.llen("rq:queue:default") == n)
        finally:
            stop.set()
            enqueue(database, "good", arguments={"word": "end"})
            thread.join(30)
        connection.flushdb()


def test_an_event_becomes_one_job_for_each_listening_extension(
    host: WorkerHost, database: Database, trial: Path
) -> None:
    with database.tenant_session("south") as session:
        publish(session, "south", StudyStable("1.2.3", 4))
    until(lambda: words(trial) == ["stable-1.2.3-4"])
    assert notes(trial)[0][0] == "south"


def test_a_tenant_that_switched_an_extension_off_is_left_alone(
    host: WorkerHost, database: Database, trial: Path
) -> None:
    with database.tenant_session("south") as session:
        session.execute("INSERT INTO extension_setting VALUES ('south', 'trial', false)")
        publish(session, "south", StudyStable("1.2.3", 1))
        publish(session, "south", StudyStable("1.2.4", 1))
    with database.tenant_session("north") as session:
        publish(session, "north", StudyStable("1.2.5", 1))
    until(lambda: words(trial))
    with database.system_session("test") as session:
        assert not session.execute("SELECT FROM outbox WHERE dispatched_at IS NULL").rowcount
        jobs_of_south = "SELECT FROM job WHERE tenant_id = 'south' AND extension = 'trial'"
        assert not session.execute(jobs_of_south).rowcount
    assert words(trial) == ["stable-1.2.5-1"]


def test_the_same_unique_key_is_one_job_for_a_tenant(database: Database) -> None:
    enqueue(database, "good", unique_key="a")
    with database.tenant_session("north") as session:
        again = jobs.enqueue(
            session, tenant_id="north", extension="trial", task="good", arguments={}, unique_key="a"
        )
    with database.tenant_session("south") as session:
        other = jobs.enqueue(
            session, tenant_id="south", extension="trial", task="good", arguments={}, unique_key="a"
        )
    assert again is None
    assert other is not None


def test_a_job_that_fails_for_now_is_tried_again(
    host: WorkerHost, database: Database, trial: Path
) -> None:
    job = ended(database, enqueue(database, "flaky", arguments={"times": 3}))
    assert (job["state"], job["attempts"], job["last_error"]) == ("done", 3, None)


def test_an_outage_of_our_own_servers_uses_up_no_attempts(
    host: WorkerHost, database: Database, trial: Path
) -> None:
    job = ended(database, enqueue(database, "flaky", arguments={"times": 3}, max_attempts=1))
    assert (job["state"], words(trial)) == ("done", ["flaky"] * 3)


def test_a_job_that_fails_for_good_is_not_tried_again(
    host: WorkerHost, database: Database, trial: Path
) -> None:
    job = ended(database, enqueue(database, "refused"))
    assert (job["state"], job["attempts"]) == ("failed", 1)
    assert "It is wrong." in job["last_error"]


def test_an_unexpected_error_is_described_without_what_it_quotes(
    host: WorkerHost, database: Database, trial: Path
) -> None:
    job = ended(database, enqueue(database, "broken", max_attempts=2))
    assert (job["state"], job["attempts"]) == ("failed", 2)
    assert "ValueError" in job["last_error"]
    assert "DOE" not in job["last_error"] + host.log.read_text()


def test_a_function_that_is_no_task_cannot_be_named_by_a_job(
    host: WorkerHost, database: Database, trial: Path
) -> None:
    assert ended(database, enqueue(database, "hidden"))["state"] == "failed"
    assert words(trial) == []


def test_postponing_does_not_use_up_attempts(
    host: WorkerHost, database: Database, trial: Path
) -> None:
    job = ended(database, enqueue(database, "postponed", max_attempts=1))
    assert job["state"] == "done"
    assert words(trial) == ["postponed"] * 4


def test_a_job_over_its_time_limit_is_stopped(
    host: WorkerHost, database: Database, trial: Path
) -> None:
    job = ended(
        database,
        enqueue(database, "slow", arguments={"seconds": 60}, time_limit_s=5, max_attempts=1),
    )
    assert job["state"] == "failed"
    assert "JobTimeoutException" in job["last_error"]


def test_hanging_jobs_do_not_stop_the_next_one(
    host: WorkerHost, database: Database, trial: Path
) -> None:
    for _ in range(2):
        enqueue(database, "slow", arguments={"seconds": 60})
    until(lambda: words(trial).count("slow-begins") == 2)
    ended(database, enqueue(database, "good", arguments={"word": "next"}))


def test_a_job_whose_host_was_killed_runs_again_after_its_lease(
    host: WorkerHost,
    database: Database,
    trial: Path,
    settings: Settings,
    owner_url: str,
) -> None:
    job_id = enqueue(database, "waits")
    until(lambda: words(trial) == ["begins"])
    host.kill()
    (trial / "go").touch()
    lease = row(database, job_id)["lease_until"]
    with database.system_session("test") as session:  # not to wait for 30 s
        session.execute("UPDATE job SET lease_until = now() WHERE lease_until = %s", [lease])
    second = WorkerHost(settings, trial / "site")
    try:
        assert ended(database, job_id)["attempts"] == 2
    finally:
        second.stop()
    assert words(trial) == ["begins", "begins", "ends"]


def test_a_killed_child_is_replaced(host: WorkerHost, database: Database, trial: Path) -> None:
    for number in range(6):
        ended(database, enqueue(database, "good", arguments={"word": str(number)}))
        os.kill(int(notes(trial)[-1][3]), signal.SIGKILL)
    ended(database, enqueue(database, "good", arguments={"word": "last"}))
    assert words(trial)[-1] == "last"


def test_an_idle_host_stops_at_once(settings: Settings, database: Database, trial: Path) -> None:
    def stops_in_s() -> float:
        with closing(WorkerHost(settings, trial / "site")) as host:
            ended(database, enqueue(database, "good", arguments={"word": "only"}))
            return host.stop()

    assert soonest(stops_in_s, 3) < 3


def test_a_stopped_host_hands_its_job_back_at_once(
    settings: Settings, database: Database, trial: Path
) -> None:
    def hands_back_in_s() -> float:
        """For ever where it was killed: RQ takes no second signal within a second of the first."""
        begun = words(trial).count("slow-begins")
        with closing(WorkerHost(settings, trial / "site")) as host:
            job_id = enqueue(database, "slow", arguments={"seconds": 60})
            until(lambda: row(database, job_id)["state"] == "running")
            until(lambda: words(trial).count("slow-begins") > begun)
            took = host.stop()
        return took if row(database, job_id)["state"] == "waiting" else math.inf

    assert soonest(hands_back_in_s, 4) < 4


def test_what_redis_forgets_is_handed_to_it_again(
    database: Database, trial: Path, settings: Settings, redis_url: str
) -> None:
    connection = redis.Redis.from_url(redis_url)
    connection.flushdb()
    manager = plugins.load("worker", [])
    job_id = enqueue(database, "good", arguments={"word": "late"})
    Dispatcher(settings, database, connection, manager).step()
    assert connection.llen("rq:queue:default") == 1
    connection.flushdb()
    with database.system_session("test") as session:
        session.execute("UPDATE job SET queued_until = now() WHERE job_id = %s", [job_id])
    Dispatcher(settings, database, connection, manager).step()
    assert connection.llen("rq:queue:default") == 1
    with database.system_session("test") as session:
        session.execute("UPDATE job SET queued_until = now() WHERE job_id = %s", [job_id])
    Dispatcher(settings, database, connection, manager).step()
    assert connection.llen("rq:queue:default") == 1, "it is still there: no second copy"
    connection.flushdb()


def test_a_job_that_is_hurried_while_it_runs_is_tried_again_at_once(database: Database) -> None:
    job_id = enqueue(database, "good")
    with database.system_session("test") as session:
        job = jobs.claim(session, job_id)
    assert job is not None
    with database.tenant_session("north") as session:
        jobs.hurry(session, extension="trial", task="good", arguments={})
    with database.system_session("test") as session:
        assert jobs.try_again(session, job, delay_s=600, error="x", free=True)
        again = jobs.claim(session, job_id)
    assert again is not None
    with database.system_session("test") as session:
        assert not jobs.finish(session, job), "an earlier run has nothing to say any more"
        assert jobs.try_again(session, again, delay_s=600, error="x", free=True)
        assert jobs.claim(session, job_id) is None
