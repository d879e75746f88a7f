"""The rules before storage as the node knows them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pytest
from psycopg.types.json import Jsonb
from pydicom import config

from extensions.routing import node, rulebook
from extensions.routing.rules.complaints import WrongRule
from extensions.routing.rules.rule import parse_rule
from gateway import db
from gateway.arriving import Sender, Transform
from gateway.db import Database
from tests.integration.routing.conftest import make_file
from tests.routing_rules import add_rule, remove_rule

SET: list[dict[str, Any]] = [
    {"morph": {"changes": [{"do": "set", "tag": "InstitutionName", "value": "North"}]}}
]


@pytest.fixture(autouse=True)
def validation_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The node switches pydicom's off for its whole process, which here is the other tests' too."""
    for name in ("_reading_validation_mode", "_writing_validation_mode"):
        monkeypatch.setattr(config.settings, name, getattr(config.settings, name))


@pytest.fixture
def north_corrects(database: Database) -> None:
    with database.tenant_session("north") as session:
        add_rule(session, "Ours", "", actions=SET, trigger="before storage")
        add_rule(session, "Later", "", actions=SET)
    with database.tenant_session("south") as session:
        add_rule(session, "Later", "", actions=SET)


def transforms(database: Database) -> Mapping[str, Transform]:
    with database.system_session("test") as session:
        return node.transform_instance(session)


def test_only_a_tenant_with_such_a_rule_has_a_transform(
    north_corrects: None, database: Database
) -> None:
    found = transforms(database)
    assert set(found) == {"north"}
    changed = found["north"](make_file(1), Sender())
    assert changed is not None
    assert b"North" in changed


def test_a_rule_that_was_taken_out_or_switched_off_is_gone(
    north_corrects: None, database: Database
) -> None:
    with database.tenant_session("north") as session:
        remove_rule(session, "Ours")
        add_rule(session, "Off", "", actions=SET, trigger="before storage", enabled=False)
    assert transforms(database) == {}


def test_each_save_tells_the_nodes(database: Database) -> None:
    heard, listening, stop = threading.Event(), threading.Event(), threading.Event()
    thread = threading.Thread(
        target=db.listen,
        args=(database.url, ["argonath_transform"], lambda *_: heard.set()),
        kwargs={"connected": listening.set, "stop": stop},
    )
    thread.start()
    try:
        assert listening.wait(10)
        with database.tenant_session("north") as session:
            add_rule(session, "Ours", "", actions=SET, trigger="before storage")
        assert heard.wait(10)
    finally:
        stop.set()
        thread.join()


def test_rules_that_cannot_be_read_refuse_their_tenants_instances_alone(
    north_corrects: None, database: Database
) -> None:
    broken = [{"name": "A", "trigger": "before storage", "actions": [{"nonsense": {}}]}]
    with database.tenant_session("south") as session:
        session.execute(
            "INSERT INTO rulebook (tenant_id, version, rules, author) VALUES ('south', 9, %s, '')",
            [Jsonb(broken)],
        )
    found = transforms(database)
    with pytest.raises(node.RulesUnreadable) as error:
        found["south"](make_file(1), Sender())
    assert (error.value.dimse_status, error.value.permanent) == (0xA700, False)
    assert found["north"](make_file(1), Sender()) is not None


def test_more_rules_than_every_sender_can_wait_for_are_not_saved(database: Database) -> None:
    with database.tenant_session("north") as session:
        early = parse_rule({"name": "0", "trigger": "before storage", "actions": SET})
        rules = [early.model_copy(update={"name": str(number)}) for number in range(33)]
        with pytest.raises(WrongRule, match="33 rules before storage"):
            rulebook.save(session, rules, based_on=0, actor="test")
