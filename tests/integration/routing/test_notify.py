"""Whom a rule tells of a study: signed, without its patient, at least once, and not twice."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from extensions.routing import runs, webhooks
from gateway.db import Database
from gateway.errors import Conflict, InvalidInput
from gateway.events import StudyStable, publish
from gateway.settings import Settings
from gateway.studies import Arrival, claim
from tests.integration.http_service import Answer, Asked, HttpService
from tests.integration.mailbox import Mailbox, mail_server, text_of
from tests.integration.routing.conftest import STUDY, FakeArchive, make_file
from tests.integration.worker_host import WorkerHost, until
from tests.routing_rules import add_rule

TO_RIS: dict[str, Any] = {"notify": {"webhook": "RIS"}}
TO_ANNA: dict[str, Any] = {"notify": {"email": ["anna@example.org"]}}


class Service:
    """A program with a webhook, which answers `statuses` one by one, and then 204."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        service = HttpService(self._answer)
        self.url, self.close = f"{service.url}/studies", service.close

    def _answer(self, asked: Asked) -> Answer:
        self.got.append((dict(asked.headers), asked.body))
        return Answer(self.statuses.pop(0) if self.statuses else 204)


@pytest.fixture
def service(database: Database) -> Iterator[Service]:
    """A webhook of north named RIS; north has one study."""
    service = Service()
    with database.tenant_session("north") as session:
        webhooks.put(session, "RIS", service.url, encryption_key="key", actor="test")
    with database.system_session("test") as session:
        claim(session, "north", Arrival(STUDY, "P1", "Doe^Jane", source="C-STORE CT1 10.0.0.7"))
    yield service
    service.close()


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    """A mail server of which a worker host that starts later knows."""
    with mail_server() as box:
        monkeypatch.setenv("ARGONATH_SMTP_URL", box.url)
        monkeypatch.setenv("ARGONATH_MAIL_FROM", "pacs@example.org")
        yield box


def rule(database: Database, *actions: dict[str, Any], **more: Any) -> None:
    with database.tenant_session("north") as session:
        add_rule(session, "Trauma", "", actions=list(actions), **more)


def arrive(database: Database, arrival: int = 1) -> None:
    with database.system_session("test") as session:
        publish(session, "north", StudyStable(STUDY, arrival))


def run_of(database: Database) -> runs.Run | None:
    with database.tenant_session("north") as session:
        found = runs.runs_of_study(session, STUDY)
    return found[0] if found else None


def ended(database: Database, number: int = 1) -> runs.Run | None:
    """The run, when its round `number` is over."""
    run = run_of(database)
    return run if run and run.state != "running" and run.round == number else None


def test_a_webhook_is_told_signed_and_without_the_patient(
    database: Database, archive: FakeArchive, service: Service, host: WorkerHost
) -> None:
    with database.tenant_session("north") as session:
        secret = webhooks.put(session, "RIS", service.url, encryption_key="key", actor="test")
    archive.add(make_file(1), make_file(2))
    rule(database, TO_RIS)
    arrive(database)
    until(lambda: ended(database))
    ((headers, body),) = service.got
    at = headers["X-Argonath-Timestamp"]
    proof = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    assert headers["X-Argonath-Signature"] == f"sha256={proof}"
    assert abs(int(at) - time.time()) < 60
    told = json.loads(body)
    assert headers["X-Argonath-Id"] == told.pop("id")
    assert told == {
        "rule": "Trauma",
        "study_instance_uid": STUDY,
        "series_instance_uid": None,
        "instances": 2,
        "round": 1,
        "url": f"http://localhost:8080/studies/{STUDY}",
    }


@pytest.mark.parametrize(("again", "rounds"), [(False, [1]), (True, [1, 2])])
def test_more_of_the_study_is_told_only_where_the_rule_says_so(
    database: Database,
    archive: FakeArchive,
    service: Service,
    host: WorkerHost,
    again: bool,
    rounds: list[int],
) -> None:
    archive.add(make_file(1))
    rule(database, {"notify": {"webhook": "RIS", "again": again}})
    arrive(database)
    until(lambda: ended(database))
    archive.add(make_file(2))
    arrive(database, 2)
    until(lambda: ended(database, 2))
    assert [json.loads(body)["round"] for _, body in service.got] == rounds


def test_a_webhook_that_is_away_is_tried_again_and_knows_it_by_its_id(
    database: Database, archive: FakeArchive, service: Service, host: WorkerHost
) -> None:
    service.statuses = [503, 429]
    archive.add(make_file(1))
    rule(database, TO_RIS)
    arrive(database)
    run = until(lambda: ended(database))
    assert run is not None
    assert run.state == "done"
    assert len(service.got) == 3
    assert len({headers["X-Argonath-Id"] for headers, _ in service.got}) == 1


@pytest.mark.parametrize("status", [410, 302])
def test_a_webhook_that_refuses_for_good_fails_the_run_until_somebody_releases_it(
    database: Database, archive: FakeArchive, service: Service, host: WorkerHost, status: int
) -> None:
    service.statuses = [status]
    archive.add(make_file(1))
    rule(database, TO_RIS)
    arrive(database)
    run = until(lambda: ended(database))
    assert run is not None
    assert run.state == "failed"
    assert f"RIS answered HTTP {status}." in run.cause
    assert len(service.got) == 1
    with database.tenant_session("north") as session:
        runs.release(session, run.run_id, actor="anna")
    until(lambda: len(service.got) == 2)


def test_what_the_first_round_could_not_tell_the_second_tells(
    database: Database, archive: FakeArchive, service: Service, host: WorkerHost
) -> None:
    service.statuses = [410]
    archive.add(make_file(1))
    rule(database, TO_RIS)
    arrive(database)
    until(lambda: ended(database))
    archive.add(make_file(2))
    arrive(database, 2)
    run = until(lambda: ended(database, 2))
    assert run is not None
    assert run.state == "done"
    assert len(service.got) == 2


def test_each_address_gets_an_e_mail_and_one_that_is_refused_fails_the_run(
    database: Database, archive: FakeArchive, service: Service, mailbox: Mailbox, settings: Settings
) -> None:
    host = WorkerHost(settings)
    archive.add(make_file(1))
    rule(database, {"notify": {"email": ["anna@example.org", "nobody@example.org"]}})
    arrive(database)
    run = until(lambda: ended(database))
    assert run is not None
    assert run.state == "failed"
    assert "refused the e-mail for good" in run.cause
    with database.tenant_session("north") as session:
        runs.release(session, run.run_id, actor="anna")
    until(
        lambda: (
            (again := run_of(database)) and again.updated_at > run.updated_at and ended(database)
        )
    )
    host.kill()
    (message,) = mailbox.messages
    assert message["To"] == "anna@example.org"
    assert message["Subject"] == "Argonath: Trauma"
    assert f"/studies/{STUDY}" in text_of(message)
    assert "Doe" not in str(message)


def test_without_a_mail_server_the_run_fails_and_says_whose_task_it_is(
    database: Database, archive: FakeArchive, service: Service, host: WorkerHost
) -> None:
    archive.add(make_file(1))
    rule(database, TO_ANNA)
    arrive(database)
    run = until(lambda: ended(database))
    assert run is not None
    assert run.state == "failed"
    assert "A system admin names one" in run.cause


def test_an_urgent_rule_is_done(
    database: Database, archive: FakeArchive, service: Service, host: WorkerHost
) -> None:
    archive.add(make_file(1))
    rule(database, TO_RIS, priority="urgent")
    arrive(database)
    until(lambda: ended(database))
    assert len(service.got) == 1


def test_the_secret_is_sealed_and_a_webhook_in_use_stays(
    database: Database, service: Service
) -> None:
    rule(database, TO_RIS)
    with database.tenant_session("north") as session:
        (webhook,) = webhooks.list_webhooks(session)
        secret = webhooks.put(session, "RIS", service.url, encryption_key="key", actor="test")
        (row,) = session.execute("SELECT * FROM webhook").fetchall()
        assert secret not in str(row)
        with pytest.raises(Conflict, match="Trauma"):
            webhooks.delete(session, webhook.webhook_id, actor="test")
    with database.tenant_session("south") as session:
        assert webhooks.list_webhooks(session) == []


def test_a_rule_with_a_webhook_that_is_not_there_is_refused(database: Database) -> None:
    with pytest.raises(InvalidInput, match="there is no webhook 'RIS'"):
        rule(database, TO_RIS)
