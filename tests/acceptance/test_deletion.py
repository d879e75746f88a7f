"""A study leaves the gateway only when nothing waits for it any more."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import httpx

from extensions.routing import runs
from tests.acceptance import trail
from tests.acceptance.browsing import client_of
from tests.acceptance.conftest import RunningGateway
from tests.acceptance.routing.test_forwarding import Receiver, ledger, receiver, routing
from tests.acceptance.test_sharing import csrf_token, delete
from tests.routing_rules import add_rule, remove_rule

__all__ = ["receiver"]


def waiting(gateway: RunningGateway, receiver: Receiver, folder: Path) -> str:
    """A study that a rule forwards to a receiver that is away."""
    receiver.kill()
    study = gateway.send_phantom(folder, receiver.patient)
    gateway.wait_until(lambda: ledger(gateway, study) == {"planned": 2})
    return study


def cancel(gateway: RunningGateway, study: str) -> None:
    """In the portal, as an admin does."""
    with routing(gateway) as session:
        row = session.execute(
            "SELECT delivery_id FROM delivery WHERE study_instance_uid = %s", [study]
        ).fetchone()
    assert row is not None
    password = (gateway.data / "secrets/first_password").read_text().strip()
    page = f"/routing/deliveries/{row['delivery_id']}"
    with closing(client_of(gateway, gateway.north_email, password)) as admin:
        assert f"{page}/cancel" in admin.get(page, headers={"Accept": "text/html"}).text
        form = {"csrf_token": csrf_token(admin)}
        assert admin.post(f"{page}/cancel", data=form).status_code == 303
        assert f"{page}/cancel" not in admin.get(page, headers={"Accept": "text/html"}).text


def refused(
    gateway: RunningGateway, study: str, key: str, *, by: str = "routing"
) -> httpx.Response:
    answer = delete(gateway, study, key)
    assert answer.status_code == 409, answer.text
    assert answer.json()["error"] == "StillNeeded"
    assert by in answer.json()["message"]
    assert "cancel" in answer.json()["cure"]
    return answer


def test_a_study_is_not_deleted_while_a_delivery_waits_and_is_when_that_is_cancelled(
    gateway: RunningGateway, receiver: Receiver, tmp_path: Path
) -> None:
    key = gateway.argonath("api-key", "create", "--tenant", "north", "--role", "admin")
    study = waiting(gateway, receiver, tmp_path)
    before = trail.last_record(gateway)
    refused(gateway, study, key)
    assert len(gateway.dicomweb(key).search_for_instances(study)) == 2
    told = [
        (row["action"], row["verdict"], row["detail"])
        for row in trail.records(gateway, after=before)
        if row["resource"] == f"study {study}" and row["action"] == "delete-study"
    ]
    assert told == [("delete-study", "denied", "StillNeeded")]

    cancel(gateway, study)
    gateway.wait_until(lambda: delete(gateway, study, key).status_code == 204, 30)
    assert gateway.dicomweb(key).search_for_instances(study) == []
    assert receiver.received == []


def test_a_study_that_waited_is_deleted_after_it_has_arrived(
    gateway: RunningGateway, receiver: Receiver, tmp_path: Path
) -> None:
    key = gateway.argonath("api-key", "create", "--tenant", "north", "--role", "admin")
    study = waiting(gateway, receiver, tmp_path)
    refused(gateway, study, key)
    receiver.start()
    gateway.wait_until(lambda: delete(gateway, study, key).status_code == 204, 60)
    assert len(receiver.on_disk) == 2
    assert ledger(gateway, study) == {"delivered": 2}


def test_a_study_that_a_rule_holds_is_not_deleted_before_somebody_discards_that(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    key = gateway.argonath("api-key", "create", "--tenant", "north", "--role", "admin")
    hold = [{"hold": {"reason": "Check the name."}}]
    with routing(gateway) as session:
        add_rule(session, "Hold", "", ("PatientName", "equals", "Hold^Me"), actions=hold)
    try:
        study = gateway.send_phantom(tmp_path, "Hold^Me")
        gateway.wait_until(lambda: [run.state for run in runs_of(gateway, study)] == ["held"])
        told = "rule 'Hold': held; release or discard it"
        # Before that the rule's own job is what the study is needed for.
        gateway.wait_until(lambda: told in delete(gateway, study, key).text)
        answer = refused(gateway, study, key, by=told)
        assert "discard" in answer.json()["cure"]
        with routing(gateway) as session:
            (run,) = runs.runs_of_study(session, study)
            runs.discard(session, run.run_id, "Not ours.", actor="anna")
        gateway.wait_until(lambda: delete(gateway, study, key).status_code == 204, 30)
    finally:
        with routing(gateway) as session:
            remove_rule(session, "Hold")


def runs_of(gateway: RunningGateway, study: str) -> list[runs.Run]:
    with routing(gateway) as session:
        return runs.runs_of_study(session, study)
