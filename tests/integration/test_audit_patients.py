"""Patients in an export: of a record's own tenant, while the study is here, to who may read it."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest
from flask import Flask
from psycopg import sql

from gateway import access, audit, studies
from gateway.access import Action
from gateway.audit import Record
from gateway.audit.export import lines
from gateway.audit.search import WITH_PATIENTS, Search, stream
from gateway.db import Database
from gateway.identity import Role
from gateway.settings import Settings
from tests.integration.portal.conftest import UID, app, signed_in
from tests.integration.test_audit_search import run

__all__ = ["app"]  # the portal's fixture

GONE = "1.2.826.0.1.3680043.8.498.2"


def read(actor: str, tenant: str, uid: str = UID, verdict: audit.Verdict = "allowed") -> Record:
    return Record(actor, "read-study", f"study {uid}", verdict, tenant)


@pytest.fixture
def trail(app: Flask, database: Database) -> Database:
    """North's patient P1 (see `app`), read by north, and asked for by south in vain."""
    with database.system_session("test") as session:
        studies.record_progress(session, [(UID, 12)])
        audit.append_all(
            session,
            [
                read("ann", "north"),
                read("eve", "south", verdict="denied"),
                read("bob", "north", GONE),
                Record("ann", "read-study", "search", "allowed", "north", detail="search studies"),
            ],
        )
    return database


def patients(messages: list[str]) -> dict[str, list[str]]:
    """Of each actor the patients that its messages name."""
    found: dict[str, list[str]] = {}
    for line in messages:
        message = ET.fromstring(line)
        actor = message.find("ActiveParticipant")
        assert actor is not None
        found.setdefault(actor.attrib["UserID"], []).extend(
            about.attrib["ParticipantObjectID"]
            for about in message.findall("ParticipantObjectIdentification")
            if about.attrib["ParticipantObjectTypeCode"] == "1"
        )
    return found


def test_the_portal_names_the_patient_of_an_own_study(app: Flask, trail: Database) -> None:
    text = signed_in(app, "admin").get("/audit/export?format=dicom&action=read-study").text
    assert patients(text.splitlines()) == {"ann": ["P1"], "bob": []}
    assert 'NumberOfInstances="12"' in text
    events = signed_in(app, "admin").get("/audit/export?format=fhir&actor=ann").text.splitlines()
    assert [len(json.loads(line)["entity"]) for line in events] == [2, 1]
    assert "P1" not in signed_in(app, "admin").get("/audit/export?format=jsonl").text


@pytest.mark.parametrize("form", ["dicom", "fhir"])
def test_a_refused_look_at_anothers_study_names_no_patient(
    app: Flask, trail: Database, form: str
) -> None:
    text = signed_in(app, "south").get(f"/audit/export?format={form}&action=read-study").text
    assert UID in text
    assert "P1" not in text


def test_nor_does_it_in_the_hands_of_a_system_admin(app: Flask, trail: Database) -> None:
    text = signed_in(app, "root").get("/audit/export?format=dicom&action=read-study").text
    assert patients(text.splitlines()) == {"ann": ["P1"], "eve": [], "bob": []}


def test_the_command_names_them_tenant_by_tenant(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: Settings,
    trail: Database,
) -> None:
    assert run(monkeypatch, settings, "export", "--format", "dicom", "--tenant", "south") == 0
    out = capsys.readouterr().out
    assert "P1" not in out
    assert UID in out
    assert run(monkeypatch, settings, "export", "--format", "dicom", "--tenant", "north") == 0
    assert patients(capsys.readouterr().out.splitlines())["ann"] == ["P1"]


def test_who_may_not_read_studies_exports_the_audit_without_patients(
    app: Flask, trail: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(access.POLICY, Action.READ_STUDY, frozenset({Role.VIEWER}))  # type: ignore[arg-type]
    text = signed_in(app, "admin").get("/audit/export?format=dicom&actor=ann").text
    assert patients(text.splitlines()) == {"ann": []}
    assert "Doe" not in text


def exports(database: Database) -> list[str]:
    with database.system_session("test") as session:
        rows = session.execute(
            "SELECT detail FROM audit WHERE action = 'export-audit' ORDER BY audit_id"
        ).fetchall()
    return [row["detail"] for row in rows]


def test_the_audit_says_which_export_named_patients(
    app: Flask,
    trail: Database,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for form in ("jsonl", "dicom", "fhir"):
        signed_in(app, "admin").get(f"/audit/export?format={form}")
    run(monkeypatch, settings, "export", "--format", "jsonl")
    run(monkeypatch, settings, "export", "--format", "fhir")
    named = "with the patients of studies that are still here"
    assert exports(trail) == ["", named, named, "", named]


def test_a_study_that_came_later_under_the_same_uid_is_not_the_one_that_was_read(
    trail: Database,
) -> None:
    with trail.system_session("test") as session:
        studies.forget(session, studies.orthanc_id("P1", UID))
        studies.claim(session, "north", studies.Arrival(UID, "P2", "Other^Olga"))
        audit.append(session, read("cleo", "north"))
    with trail.system_session("test") as session:
        messages = list(lines(stream(session, Search(), patients=True), "dicom"))
    told = patients(messages)
    assert (told["ann"], told["cleo"]) == ([], ["P2"])


def test_patients_are_joined_while_the_records_stream(trail: Database) -> None:
    """By the studies' key for each record: no sort of the whole trail before its first line."""
    with trail.system_session("test") as session:
        session.execute(
            "INSERT INTO study (study_instance_uid, tenant_id, orthanc_id) "
            "SELECT '1.9.' || i, 'north', 'x' FROM generate_series(1, 20000) i"
        )
        for n in range(8):
            audit.append_all(session, [read("z", "north", f"1.9.{n}{i}") for i in range(500)])
    with trail.system_session("test") as session:
        where, values = Search().conditions()
        statement = WITH_PATIENTS.format(where)
        plan = session.execute(sql.SQL("EXPLAIN {} LIMIT 400").format(statement), values)
        told = "\n".join(row["QUERY PLAN"] for row in plan)
    assert "study_pkey" in told, told
    assert "Sort" not in told, told
