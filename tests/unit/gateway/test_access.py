"""The one policy: who may do what to whose."""

from __future__ import annotations

import pytest

from gateway import access
from gateway.access import Action, Resource
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


def test_every_action_has_a_rule() -> None:
    assert set(access.POLICY) == set(Action)
