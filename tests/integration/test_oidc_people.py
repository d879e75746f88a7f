"""People of an OpenID provider on a real PostgreSQL."""

from __future__ import annotations

import pytest

from gateway import identity, invitations, oidc_people, people
from gateway.db import Database
from gateway.errors import NotAllowed, NotAuthenticated
from gateway.identity import NoMembership, Principal, Role
from gateway.oidc_claims import Stranger

ISSUER = "https://id.hospital.example"


def ada(**memberships: Role) -> Stranger:
    return Stranger(ISSUER, "ada", "ada@hospital.example", memberships)


def come(database: Database, stranger: Stranger) -> int:
    """The person, as after a sign-in."""
    with database.system_session("test") as session:
        return oidc_people.person_of(session, stranger)


def begin(database: Database, person_id: int, tenant_id: str | None = None) -> str:
    with database.system_session("test") as session:
        return identity.open_session(session, person_id, hours=1, tenant_id=tenant_id)


def roles(database: Database, person_id: int) -> dict[str, str]:
    with database.system_session("test") as session:
        rows = session.execute(
            "SELECT tenant_id, role FROM membership WHERE person_id = %s", [person_id]
        ).fetchall()
    return {row["tenant_id"]: row["role"] for row in rows}


def test_memberships_follow_what_the_provider_says_at_each_sign_in(database: Database) -> None:
    person = come(database, ada(north=Role.VIEWER, nowhere=Role.OWNER))
    assert roles(database, person) == {"north": "viewer"}
    assert come(database, ada(north=Role.ADMIN, south=Role.MEMBER)) == person
    assert roles(database, person) == {"north": "admin", "south": "member"}
    come(database, ada(south=Role.MEMBER))
    assert roles(database, person) == {"south": "member"}


def test_what_was_given_here_stays_whatever_the_provider_says(database: Database) -> None:
    person = come(database, ada(north=Role.VIEWER))
    with database.system_session("test") as session:
        identity.add_member(session, person, "south", Role.ADMIN)
    come(database, ada(south=Role.VIEWER))
    assert roles(database, person) == {"south": "admin"}
    come(database, ada())
    assert roles(database, person) == {"south": "admin"}


def test_open_sessions_lose_at_once_what_the_provider_took(database: Database) -> None:
    person = come(database, ada(north=Role.ADMIN, south=Role.ADMIN))
    north, south = begin(database, person, "north"), begin(database, person, "south")
    come(database, ada(south=Role.VIEWER))
    with pytest.raises(NotAuthenticated):
        identity.authenticate(database, north)
    assert identity.authenticate(database, south).role is Role.VIEWER


def test_who_lost_everything_keeps_no_membership_and_no_session(database: Database) -> None:
    person = come(database, ada(north=Role.ADMIN))
    token = begin(database, person)
    come(database, ada())
    with pytest.raises(NotAuthenticated):
        identity.authenticate(database, token)
    with pytest.raises(NoMembership):
        begin(database, person)


def test_a_stranger_without_a_tenant_is_not_even_written_down(database: Database) -> None:
    with pytest.raises(NoMembership):
        come(database, ada(nowhere=Role.ADMIN))
    with database.system_session("test") as session:
        assert people.everybody(session) == []


def test_an_address_with_a_password_is_never_taken_over(database: Database) -> None:
    with database.system_session("test") as session:
        local = identity.create_person(session, "ada@hospital.example", "a long password")
        identity.add_member(session, local, "south", Role.OWNER)
    with pytest.raises(oidc_people.AddressTaken):
        come(database, ada(north=Role.VIEWER))
    with database.system_session("test") as session:
        oidc_people.link(session, local, ada(north=Role.VIEWER))
    assert come(database, ada(north=Role.VIEWER)) == local
    assert roles(database, local) == {"north": "viewer", "south": "owner"}


def test_one_account_there_is_linked_with_one_here(database: Database) -> None:
    person = come(database, ada(north=Role.VIEWER))
    with database.system_session("test") as session:
        other = identity.create_person(session, "bob@hospital.example", "a long password")
    for who, stranger in ((other, ada()), (person, Stranger(ISSUER, "bob", "b@c.example"))):
        with (
            pytest.raises(oidc_people.LinkedElsewhere),
            database.system_session("test") as session,
        ):
            oidc_people.link(session, who, stranger)


def test_a_person_of_the_provider_has_no_password_and_no_admin_can_set_one(
    database: Database,
) -> None:
    """Else an admin elsewhere could sign in as them, when the provider gives them a tenant."""
    come(database, ada(north=Role.ADMIN))
    come(database, ada())
    with pytest.raises(NotAuthenticated):
        identity.sign_in(database, "ada@hospital.example", "", hours=1)
    actor = Principal("admin", Role.ADMIN, "south", person_id=0)
    with database.tenant_session("south") as session:
        token = invitations.invite(session, actor, "south", "ada@hospital.example", Role.VIEWER)
    with pytest.raises(NotAuthenticated), database.system_session("test") as session:
        invitations.person_for(session, invitations.find(session, token), "I know this well")


def test_a_disabled_person_does_not_come_in_by_the_provider(database: Database) -> None:
    person = come(database, ada(north=Role.VIEWER))
    with database.system_session("test") as session:
        assert oidc_people.may_sign_in(session, ISSUER, "ada")
        people.disable(session, Principal("root", Role.SYSTEM_ADMIN, None), person, disabled=True)
    with pytest.raises(NotAllowed):
        come(database, ada(north=Role.VIEWER))
    with database.system_session("test") as session:
        assert not oidc_people.may_sign_in(session, ISSUER, "ada")


def test_a_role_that_the_provider_gives_is_not_changed_here(database: Database) -> None:
    person = come(database, ada(north=Role.VIEWER))
    actor = Principal("owner", Role.OWNER, "north", person_id=0)
    with pytest.raises(people.GivenElsewhere), database.tenant_session("north") as session:
        people.change_role(session, actor, person, Role.ADMIN)


def test_an_invited_person_of_the_provider_needs_no_group(database: Database) -> None:
    actor = Principal("owner", Role.OWNER, "north", person_id=0)
    with database.tenant_session("north") as session:
        token = invitations.invite(session, actor, "north", "a.lovelace@old.example", Role.MEMBER)
    with database.system_session("test") as session:
        invitation = invitations.find(session, token)
        person = oidc_people.person_of(session, ada(), invited=True)
        invitations.accept(session, invitation, person)
    assert come(database, ada()) == person
    assert roles(database, person) == {"north": "member"}
