"""The one policy: who may do what to whose."""

from __future__ import annotations

import pytest

from gateway import access
from gateway.access import Action, Resource, Verdict
from gateway.errors import NotAllowed, NotFound
from gateway.identity import Principal, Role, service_principal

NORTH_STUDY = Resource("north", "study 1.2.3")


def somebody(role: Role, tenant: str | None = "north") -> Principal:
    return Principal("somebody", role, tenant)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.MEMBER, Role.ADMIN, Role.OWNER])
def test_everybody_of_a_tenant_reads_its_studies(role: Role) -> None:
    access.require(somebody(role), Action.READ_STUDY, NORTH_STUDY)


def test_a_study_of_another_tenant_does_not_exist() -> None:
    with pytest.raises(NotFound):
        access.require(somebody(Role.OWNER, "south"), Action.READ_STUDY, NORTH_STUDY)


def test_a_study_without_an_owner_exists_for_no_tenant() -> None:
    with pytest.raises(NotFound):
        access.require(somebody(Role.OWNER), Action.READ_STUDY, Resource(None, "study 1.2.3"))


def test_a_viewer_stores_nothing() -> None:
    with pytest.raises(NotAllowed):
        access.require(somebody(Role.VIEWER), Action.STORE_STUDY, NORTH_STUDY)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.MEMBER, Role.ADMIN, Role.OWNER])
def test_the_raw_archive_is_closed_to_every_role_of_a_tenant(role: Role) -> None:
    assert not access.permits(somebody(role), Action.RAW_ARCHIVE)


def test_a_role_of_a_tenant_with_no_tenant_owns_nothing() -> None:
    assert not access.owns(somebody(Role.OWNER, None), NORTH_STUDY)


def test_a_system_admin_inside_a_tenant_sees_that_tenant_alone() -> None:
    inside = somebody(Role.SYSTEM_ADMIN, "south")
    assert not access.owns(inside, NORTH_STUDY)
    assert access.permits(inside, Action.MANAGE_TENANTS)


def test_our_own_process_acting_for_a_tenant_cannot_reach_the_raw_archive() -> None:
    assert not access.permits(service_principal("north"), Action.RAW_ARCHIVE)
    assert access.permits(service_principal(None), Action.RAW_ARCHIVE)


def test_every_action_has_a_rule_and_something_that_it_is_done_to() -> None:
    assert set(access.POLICY) == set(Action)
    assert set(access.KINDS) == set(Action)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("tenant", ["north", None])
def test_a_route_that_nobody_knows_is_closed_to_everybody(role: Role, tenant: str | None) -> None:
    principal = somebody(role, tenant)
    assert access.verdict(principal, Action.UNKNOWN_ROUTE) is Verdict.NOT_ALLOWED


@pytest.mark.parametrize(
    ("role", "tenant", "owner", "verdict"),
    [
        (Role.ADMIN, "north", "north", Verdict.ALLOWED),
        (Role.ADMIN, "south", "north", Verdict.NOT_FOUND),
        (Role.ADMIN, "south", None, Verdict.NOT_FOUND),
        (Role.VIEWER, "north", "north", Verdict.NOT_ALLOWED),
        (Role.VIEWER, "south", "north", Verdict.NOT_ALLOWED),
        (Role.SYSTEM_ADMIN, None, "north", Verdict.ALLOWED),
        (Role.SYSTEM_ADMIN, "south", "north", Verdict.NOT_FOUND),
    ],
)
def test_the_verdict_is_of_the_role_the_action_and_the_owner(
    role: Role, tenant: str | None, owner: str | None, verdict: Verdict
) -> None:
    principal, resource = somebody(role, tenant), Resource(owner)
    assert access.verdict(principal, Action.CHANGE_ROUTING, resource) is verdict


@pytest.mark.parametrize(
    ("role", "may"),
    [(Role.VIEWER, False), (Role.MEMBER, False), (Role.ADMIN, True), (Role.OWNER, True)],
)
def test_only_an_admin_lets_a_study_out_of_the_tenant(role: Role, may: bool) -> None:
    assert access.permits(somebody(role), Action.SHARE_STUDY) is may
    assert not access.owns(somebody(role, "south"), NORTH_STUDY)
