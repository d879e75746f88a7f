"""Riverside Hospital, a tenant at work: invented people, every kind of rule, studies on the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from extensions.polling.sources import create_source
from extensions.routing.changes import crosswalk_tables
from extensions.routing.changes.crosswalk_tables import By as Author
from extensions.routing.destinations import create_destination
from gateway import identity, tenancy
from gateway.db import Database, Session
from gateway.identity import Role
from tests.acceptance import hospital
from tests.acceptance.conftest import RunningGateway
from tests.acceptance.routing.test_forwarding import Receiver
from tests.ports import free_port
from tests.routing_rules import add_rule

TENANT = "riverside"
ADMIN = "anna.keller@riverside.example"
MEMBERS = (
    (ADMIN, Role.OWNER),
    ("jonas.berg@riverside.example", Role.ADMIN),
    ("mei.tanaka@riverside.example", Role.MEMBER),
    ("luc.moreau@riverside.example", Role.VIEWER),
)
RULES = (
    ("CT and MR to the main archive", "Main archive", [("Modality", "one of", ["CT", "MR"])]),
    (
        "Chest films to teleradiology",
        "Teleradiology",
        [("Modality", "equals", "DX"), ("StudyDescription", "contains", "chest")],
    ),
    ("MR heads for research", "Research", [("StudyDescription", "matches pattern", "Head*")]),
)
NIGHT: dict[str, Any] = {
    "when": {
        "all": [
            {"field": "Modality", "operator": "equals", "value": "CT"},
            {
                "any": [
                    {"field": "StudyDescription", "operator": "contains", "value": "trauma"},
                    {"field": "SeriesDescription", "operator": "contains", "value": "lung"},
                ]
            },
        ]
    },
    "actions": [
        {"label": {"add": ["emergency"]}},
        {
            "morph": {
                "changes": [
                    {"do": "prefix", "tag": "AccessionNumber", "text": "N-"},
                    {"do": "set", "tag": "InstitutionName", "value": "Riverside Hospital"},
                ]
            }
        },
        {"forward": {"to": "Main archive"}},
        {"hold": {"reason": "Call the night shift before this goes out."}},
        {"forward": {"to": "Teleradiology"}},
    ],
    "priority": "urgent",
}
ON_DEMAND = {"trigger": "on demand", "actions": [{"forward": {"to": "Teleradiology"}}]}
SOURCES = (
    ("Photographs of the wards", "folder", {}),
    ("Lakeside imaging", "dicomweb", {"url": "http://127.0.0.1:9/dicom-web"}),  # nobody is there
)
NUMBERS = {
    f"A10{number}": {"accession": f"RS-2026-{number:05}", "ward": ward}
    for number, ward in ((1206, "ER"), (1577, "N2"), (1622, "ICU"), (1745, "N2"), (1836, "ER"))
}


@contextmanager
def at_work(gateway: RunningGateway, folder: Path) -> Iterator[None]:
    """The hospital with its people, rules and studies, until the end."""
    receiver = Receiver(folder, "")
    receiver.start()
    database = database_of(gateway)
    tenancy.create_tenant(database, TENANT, "Riverside Hospital", ["RIVERSIDE", "RIVERSIDE_CT"])
    add_people(database, gateway.admin_password)
    add_callers(database)
    add_routing(database, gateway, receiver.port)
    for exam in hospital.EXAMS:
        files = hospital.write(exam, folder)
        send = partial(gateway.storescu, *files, called="RIVERSIDE", calling=exam.station)
        # The first time the node has just heard of the tenant, or is about to.
        gateway.wait_until(lambda send=send: send().returncode == 0)
    gateway.wait_until(lambda: is_settled(database), 120)
    spread_over_the_week(gateway)
    yield
    database.close()
    receiver.kill()


def database_of(gateway: RunningGateway) -> Database:
    return Database(
        f"postgresql://argonath_app@/argonath?host={gateway.data}/run/postgresql", max_size=2
    )


def add_people(database: Database, password: str) -> None:
    with database.system_session("test people") as session:
        for email, role in MEMBERS:
            person = identity.create_person(session, email, password)
            identity.add_member(session, person, TENANT, role)
        for label, key_role in (("OHIF in radiology", Role.MEMBER), ("Teaching file", Role.VIEWER)):
            identity.create_api_key(session, TENANT, key_role, label=label)
        old = identity.create_api_key(session, TENANT, Role.ADMIN, label="Old workstation")
        identity.revoke_api_key(session, token=old)


def add_callers(database: Database) -> None:
    stations = sorted({exam.station for exam in hospital.EXAMS})
    callers: list[tuple[object, ...]] = [
        (TENANT, station, "127.0.0.0/8", False, None, None) for station in stations
    ]
    callers.append((TENANT, "WORKSTATION", None, True, "10.20.1.44", 11112))
    with database.system_session("test callers") as session:
        for caller in callers:
            session.execute("INSERT INTO calling_ae_title VALUES (%s, %s, %s, %s, %s, %s)", caller)


def add_routing(database: Database, gateway: RunningGateway, receiver_port: int) -> None:
    addresses = {
        "Main archive": (receiver_port, "RECEIVER"),
        "Teleradiology": (free_port(), "TELERAD"),  # nobody listens there
        "Research": (gateway.dicom_port, "SOUTH"),  # which refuses another tenant's studies
    }
    with database.tenant_session(TENANT) as session:
        for name, (port, called) in addresses.items():
            create_destination(
                session,
                name=name,
                kind="dimse",
                settings={"host": "127.0.0.1", "port": port, "called_aet": called},
                actor=ADMIN,
            )
        for name, destination, conditions in RULES:
            add_rule(session, name, destination, *conditions)
        add_rule(session, "Trauma at night", "", **NIGHT)
        add_rule(session, "Second opinion", "", **ON_DEMAND)
        add_tables(session)
        for name, kind, settings in SOURCES:
            create_source(session, name=name, kind=kind, settings=settings, actor=ADMIN)


def add_tables(session: Session) -> None:
    by = Author(ADMIN)
    fetched = {"url": "http://127.0.0.1:9/accessions.csv", "key_column": "old"}
    asked = {"url": "https://ris.riverside.example/patients"}
    for name, kind, settings in (
        ("accessions", "table", {}),
        ("departments", "csv", fetched),
        ("patients", "lookup", asked),
    ):
        crosswalk_tables.create_table(session, name=name, kind=kind, settings=settings, by=by)
    crosswalk_tables.import_rows(session, "accessions", NUMBERS, by=by)


def is_settled(database: Database) -> bool:
    """All complete, their rules applied; each delivered, failed, or for who does not answer."""
    with database.tenant_session(TENANT) as session:
        row = session.execute(
            "SELECT (SELECT count(*) FROM study WHERE state = 'stable') AS stable, "
            "(SELECT count(DISTINCT i.state) FROM delivery_instance i) AS states, "
            "(SELECT count(*) FROM delivery_instance i JOIN delivery d USING (delivery_id) "
            "WHERE i.state IN ('planned', 'sending') AND destination_name <> 'Teleradiology') "
            "AS n, "
            "(SELECT count(*) FROM job WHERE task <> 'deliver' AND run_at <= now() "
            "AND state IN ('waiting', 'running')) "
            "+ (SELECT count(*) FROM outbox WHERE dispatched_at IS NULL) AS open"
        ).fetchone()
    assert row is not None
    is_complete = row["stable"] == len(hospital.EXAMS) and not row["open"]
    return bool(is_complete and row["states"] == 3 and row["n"] == 0)


def spread_over_the_week(gateway: RunningGateway) -> None:
    """As if the studies had arrived one after the other, not all just now."""
    with psycopg.connect(
        f"host={gateway.data}/run/postgresql user=argonath dbname=argonath"
    ) as owner:
        for age, exam in enumerate(reversed(hospital.EXAMS)):
            owner.execute(
                "UPDATE study SET first_received_at = first_received_at - interval '1 min' * %s "
                "WHERE study_instance_uid = %s",
                [3 * 2**age, exam.study_uid],
            )
