"""What needs an admin is on the overview and under Attention; what they decided is settled."""

from __future__ import annotations

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient

from extensions.routing import ledger, progress, runs
from extensions.routing.destinations import Destination
from gateway.actions import Step
from gateway.db import Database
from tests.integration.portal.conftest import HTML, UID, signed_in
from tests.integration.portal.test_deliveries import (  # noqa: F401  a fixture
    fail,
    pacs,
    plan,
    rows_of,
)
from tests.routing_rules import begin_run

WHY = "The crosswalk table has no row."


@pytest.fixture
def admin(app: Flask) -> FlaskClient:
    return signed_in(app, "admin")


@pytest.fixture
def held(app: Flask, database: Database, pacs: Destination) -> int:  # noqa: F811
    """The rule is done with the study of north, and the delivery that it planned is held."""
    number = plan(database, pacs, UID)
    with database.tenant_session("north") as session:
        run = begin_run(session, UID, "rule", Step("forward", {"to": "PACS"}))
        assert runs.step_done(session, run, 0)
        progress.hold(session, ledger.get_delivery(session, number), WHY)
    return number


def page_of(client: FlaskClient, path: str) -> str:
    answer = client.get(path, headers=HTML)
    assert answer.status_code == 200, answer.text
    return " ".join(answer.text.split())


def audit_of(database: Database, action: str) -> list[tuple[str, str]]:
    with database.tenant_session("north") as session:
        rows = session.execute(
            "SELECT resource, detail FROM audit WHERE action = %s ORDER BY audit_id", [action]
        ).fetchall()
    return [(row["resource"], row["detail"]) for row in rows]


def test_a_held_delivery_waits_for_a_decision_until_it_is_released(
    admin: FlaskClient, database: Database, held: int
) -> None:
    assert "1 need a decision" in page_of(admin, "/")
    page = page_of(admin, "/routing/rules/attention")
    assert WHY in page
    assert f'href="/routing/deliveries/{held}"' in page
    assert f'href="/studies/{UID}"' in page
    assert admin.post(f"/routing/deliveries/{held}/release").status_code == 303
    assert "Nothing waits for you" in page_of(admin, "/routing/rules/attention")
    assert "0 need a decision" in page_of(admin, "/")


def test_a_viewer_sees_it_without_the_buttons_and_another_tenant_not_at_all(
    app: Flask, held: int
) -> None:
    page = page_of(signed_in(app, "viewer"), "/routing/rules/attention")
    assert WHY in page
    assert "Release" not in page
    assert "Nothing waits for you" in page_of(signed_in(app, "south"), "/routing/rules/attention")


def test_a_rule_whose_delivery_is_held_is_not_shown_as_done(admin: FlaskClient, held: int) -> None:
    page = page_of(admin, f"/studies/{UID}")
    assert '<strong>rule</strong> <span class="badge bad">held</span>' in page
    assert '<span class="badge good">done</span>' not in page


def test_that_a_delivery_is_held_is_in_the_study_s_audit(database: Database, held: int) -> None:
    assert audit_of(database, "hold-delivery") == [(f"study {UID}", f"to PACS: {WHY}")]


def test_a_rule_that_gets_no_further_says_why_and_after_ten_minutes_stands_under_attention(
    admin: FlaskClient, database: Database, owner_url: str
) -> None:
    with database.tenant_session("north") as session:
        run = begin_run(session, UID, "rule", Step("notify", {"webhook": "RIS"}))
        runs.note(session, run, 0, "RIS is away.")
    assert "RIS is away." in page_of(admin, f"/studies/{UID}")
    assert "Nothing waits for you" in page_of(admin, "/routing/rules/attention")
    with psycopg.connect(owner_url) as owner:
        owner.execute("UPDATE rule_run SET updated_at = now() - interval '11 minutes'")
    assert "1 need a decision" in page_of(admin, "/")
    page = page_of(admin, "/routing/rules/attention")
    assert "RIS is away." in page
    assert ">Try now</button>" in page
    assert admin.post(f"/routing/rules/runs/{run.run_id}/release").status_code == 303
    assert "Nothing waits for you" in page_of(admin, "/routing/rules/attention")
    assert audit_of(database, "release-study") == [(f"study {UID}", "rule rule: RIS is away.")]


def test_a_destination_that_does_not_answer_is_on_the_overview_while_something_waits_for_it(
    admin: FlaskClient,
    database: Database,
    pacs: Destination,  # noqa: F811
) -> None:
    number = plan(database, pacs, UID)
    assert "0 destinations not answering" in page_of(admin, "/")
    with database.tenant_session("north") as session:
        progress.unreachable(session, pacs.destination_id, error="away", first_s=1)
    assert "1 destinations not answering" in page_of(admin, "/")
    admin.post(f"/routing/deliveries/{number}/cancel")
    assert "0 destinations not answering" in page_of(admin, "/")


def test_what_a_person_cancelled_is_no_failure_and_is_released_only_by_name(
    admin: FlaskClient,
    database: Database,
    pacs: Destination,  # noqa: F811
) -> None:
    number = plan(database, pacs, UID)
    fail(database, number, "full")
    assert "1 deliveries failed" in page_of(admin, "/")
    admin.post(f"/routing/deliveries/{number}/cancel")
    assert "0 deliveries failed" in page_of(admin, "/")
    page = page_of(admin, f"/routing/deliveries/{number}")
    assert '<span class="badge plain">cancelled</span>' in page
    assert "1 of 1 not sent. Cancelled by admin@example.org. full" in page
    assert "Correct the destination" not in page
    assert 'class="notice"' in page
    (row,) = rows_of(admin, "")
    assert (row["state"], row["cancelled"]) == ("cancelled", "1")
    admin.post("/routing/deliveries/release", data={})
    assert [row["state"] for row in rows_of(admin, "")] == ["cancelled"]
    admin.post("/routing/deliveries/release", data={"state": "cancelled"})
    assert [row["state"] for row in rows_of(admin, "")] == ["waiting"]


def test_releasing_all_is_in_the_audit_of_each_study(
    admin: FlaskClient,
    database: Database,
    pacs: Destination,  # noqa: F811
) -> None:
    for study in (UID, "1.2.7"):
        fail(database, plan(database, pacs, study), "full")
    admin.post("/routing/deliveries/release", data={})
    assert sorted(audit_of(database, "release-delivery")) == [
        ("study 1.2.7", "to PACS"),
        (f"study {UID}", "to PACS"),
    ]
