"""Identity, ownership, audit and arrival on a real PostgreSQL."""

from __future__ import annotations

import threading
from unittest.mock import Mock

import psycopg
import pytest

from gateway import audit, identity, studies
from gateway.audit import Record
from gateway.db import Database
from gateway.errors import Conflict, ForeignStudy, NotAuthenticated, NotFound
from gateway.identity import Role
from gateway.migrate import migrate, migrations, pending
from gateway.plugins import discover
from gateway.settings import Settings
from gateway.studies import Arrival
from gateway.tenancy import Directory, create_tenant

UID = "1.2.3"


def claim(database: Database, tenant: str, uid: str = UID) -> None:
    with database.system_session("test") as session:
        studies.claim(session, tenant, Arrival(uid, "P1", "Doe^Jane", modality="CT"))


def receive(database: Database, tenant: str = "north") -> None:
    claim(database, tenant)
    with database.system_session("test") as session:
        studies.mark_receiving(session, UID)


def make_stable(database: Database, arrival: int) -> bool:
    with database.system_session("test") as session:
        return studies.mark_stable(
            session,
            UID,
            arrival,
            quiet_s=-1,
            modalities=["CT"],
            series_count=1,
            instance_count=2,
        )


def test_progress_of_a_claim_makes_it_receiving_and_of_a_stable_study_does_not(
    database: Database,
) -> None:
    claim(database, "north")
    with database.system_session("test") as session:
        studies.record_progress(session, [(UID, 2)])
        assert [uid for uid, *_ in studies.quiet(session, seconds=-1)] == [UID]
    assert make_stable(database, 1)
    with database.system_session("test") as session:
        studies.record_progress(session, [(UID, 1)])
        assert studies.quiet(session, seconds=-1) == []


def count(database: Database, table: str) -> int:
    with database.system_session("test") as session:
        row = session.execute(f"SELECT count(*) AS n FROM {table}".encode()).fetchone()
    assert row is not None
    return int(row["n"])


def test_migrating_again_changes_nothing(settings: Settings, database: Database) -> None:
    wanted = migrations(discover())
    assert migrate(settings.database_admin_url, settings.database_url, wanted) == []
    assert pending(settings.database_url, wanted) == []


def test_two_who_migrate_a_new_database_at_once_do_it_once(template: str) -> None:
    wanted, applied = migrations(discover()), list[list[str]]()

    def start() -> None:
        applied.append(migrate(f"{template} dbname=postgres", f"{template} dbname=raced", wanted))

    starters = [threading.Thread(target=start) for _ in range(3)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    assert sorted(map(len, applied)) == [0, 0, len(wanted)]


def test_an_api_key_is_its_tenants_until_it_is_revoked(database: Database) -> None:
    with database.system_session("test") as session:
        key = identity.create_api_key(session, "north", Role.MEMBER, label="scanner")
    principal = identity.authenticate(database, key)
    assert (principal.tenant_id, principal.role, principal.name) == ("north", "member", "scanner")
    with database.system_session("test") as session:
        identity.revoke_api_key(session, token=key)
    with pytest.raises(NotAuthenticated):
        identity.authenticate(database, key)


def test_a_key_is_stored_as_a_hash_only(database: Database) -> None:
    with database.system_session("test") as session:
        key = identity.create_api_key(session, "north", Role.MEMBER)
        row = session.execute("SELECT * FROM credential").fetchone()
    assert row is not None
    assert key not in str(row)
    assert row["token_hash"] == identity.hash_token(key)


def test_a_key_for_an_unknown_tenant_is_refused(database: Database) -> None:
    with pytest.raises(NotFound), database.system_session("test") as session:
        identity.create_api_key(session, "west", Role.MEMBER)


def test_one_tenant_cannot_revoke_the_key_of_another(database: Database) -> None:
    with database.system_session("test") as session:
        key = identity.create_api_key(session, "north", Role.MEMBER)
    with pytest.raises(NotFound), database.tenant_session("south") as south:
        identity.revoke_api_key(south, token=key)
    assert identity.authenticate(database, key).tenant_id == "north"


def test_a_person_signs_in_to_the_own_tenant_and_out(database: Database) -> None:
    with database.system_session("test") as session:
        person = identity.create_person(session, "Ann@north.example", "a long password")
        identity.add_member(session, person, "north", Role.ADMIN)
    token = identity.sign_in(database, "ann@north.example", "a long password", hours=1)
    assert identity.authenticate(database, token).role is Role.ADMIN
    identity.sign_out(database, token)
    with pytest.raises(NotAuthenticated):
        identity.authenticate(database, token)


@pytest.mark.parametrize("email", ["ann@north.example", "nobody@north.example"])
def test_an_unknown_user_costs_the_computation_of_a_wrong_password(
    database: Database, monkeypatch: pytest.MonkeyPatch, email: str
) -> None:
    with database.system_session("test") as session:
        identity.create_person(session, "ann@north.example", "a long password")
    hasher = Mock(wraps=identity._passwords)
    monkeypatch.setattr(identity, "_passwords", hasher)
    with pytest.raises(NotAuthenticated):
        identity.sign_in(database, email, "another password", hours=1)
    assert len(hasher.method_calls) == 1


@pytest.mark.parametrize("email", ["ann@north.example", "nobody@north.example"])
def test_a_wrong_password_and_an_unknown_user_look_the_same(database: Database, email: str) -> None:
    with database.system_session("test") as session:
        person = identity.create_person(session, "ann@north.example", "a long password")
        identity.add_member(session, person, "north", Role.ADMIN)
    with pytest.raises(NotAuthenticated, match="E-mail or password is wrong"):
        identity.sign_in(database, email, "another password", hours=1)


def test_a_person_cannot_enter_a_tenant_without_being_a_member(database: Database) -> None:
    with database.system_session("test") as session:
        person = identity.create_person(session, "ann@north.example", "a long password")
        identity.add_member(session, person, "north", Role.ADMIN)
    token = identity.sign_in(database, "ann@north.example", "a long password", hours=1)
    principal = identity.authenticate(database, token)
    with pytest.raises(NotFound), database.system_session("test") as session:
        identity.enter_tenant(session, principal, "south")


def test_an_ae_title_belongs_to_one_tenant(database: Database) -> None:
    with pytest.raises(Conflict):
        create_tenant(database, "west", "West", ["NORTH"])
    with database.system_session("test") as session:
        assert Directory.load(session).called == {"NORTH": "north", "SOUTH": "south"}


def test_the_first_tenant_to_claim_a_study_owns_it(database: Database) -> None:
    claim(database, "north")
    claim(database, "north")
    with pytest.raises(ForeignStudy):
        claim(database, "south")


def test_two_tenants_racing_for_a_study_get_one_owner(database: Database) -> None:
    for round_number in range(10):
        uid, lost, start = f"1.2.{round_number}", list[str](), threading.Barrier(2)

        def race(
            tenant: str,
            uid: str = uid,
            lost: list[str] = lost,
            start: threading.Barrier = start,
        ) -> None:
            start.wait()
            try:
                claim(database, tenant, uid)
            except ForeignStudy:
                lost.append(tenant)

        racers = [threading.Thread(target=race, args=[name]) for name in ("north", "south")]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join()
        assert len(lost) == 1


def test_a_study_becomes_stable_once(database: Database) -> None:
    receive(database)
    assert make_stable(database, 1)
    assert not make_stable(database, 1)
    assert count(database, "outbox") == 1


def test_a_stable_study_that_gets_more_becomes_stable_again(database: Database) -> None:
    receive(database)
    make_stable(database, 1)
    claim(database, "north")
    assert make_stable(database, 2)
    assert count(database, "outbox") == 2


def test_a_study_that_still_receives_is_not_quiet(database: Database) -> None:
    receive(database)
    with database.system_session("test") as session:
        assert studies.quiet(session, seconds=60) == []
        assert [uid for uid, _, _ in studies.quiet(session, seconds=-1)] == [UID]


def test_a_deleted_study_frees_its_uid_and_is_told(database: Database) -> None:
    receive(database)
    with database.system_session("test") as session:
        studies.forget(session, studies.orthanc_id("P1", UID))
    claim(database, "south")
    assert count(database, "outbox") == 1


def write(database: Database, *actors: str) -> None:
    with database.tenant_session("north") as session:
        for actor in actors:
            audit.append(session, Record(actor, "store-study", UID, "allowed", "north"))


def test_an_untouched_audit_trail_verifies(database: Database) -> None:
    write(database, "a", "b", "c")
    with database.system_session("test") as session:
        assert audit.verify(session) is None


@pytest.mark.parametrize(
    ("tampering", "broken"),
    [
        ("UPDATE audit SET actor = 'x' WHERE audit_id = 2", 2),
        ("DELETE FROM audit WHERE audit_id = 2", 3),
        ("UPDATE audit SET at = at + interval '1 s' WHERE audit_id = 1", 1),
    ],
)
def test_tampering_with_the_audit_trail_is_found(
    database: Database, owner_url: str, tampering: str, broken: int
) -> None:
    write(database, "a", "b", "c")
    with psycopg.connect(owner_url) as owner:
        owner.execute(tampering.encode())
    with database.system_session("test") as session:
        assert audit.verify(session) == broken


def test_an_audit_record_falls_with_its_transaction(database: Database) -> None:
    def write_and_fail() -> None:
        with database.tenant_session("north") as session:
            audit.append(session, Record("a", "store-study", UID, "allowed", "north"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_fail()
    assert count(database, "audit") == 0
