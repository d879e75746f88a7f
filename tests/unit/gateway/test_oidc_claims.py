"""What a provider's claims mean for us."""

from __future__ import annotations

import pytest

from gateway.bearer import TenantNotChosen, choose
from gateway.identity import NoMembership, Role
from gateway.oidc_claims import email_of, memberships


@pytest.mark.parametrize(
    ("claims", "given"),
    [
        ({"groups": ["argonath:north:admin"]}, {"north": "admin"}),
        ({"groups": ["/argonath:north:viewer"]}, {"north": "viewer"}),  # Keycloak's group path
        ({"groups": "argonath:north:viewer staff"}, {"north": "viewer"}),
        (
            {"groups": ["argonath:north:viewer", "argonath:north:owner", "argonath:north:member"]},
            {"north": "owner"},
        ),
        ({"groups": ["argonath:a:viewer", "argonath:b:member"]}, {"a": "viewer", "b": "member"}),
        ({"groups": ["north:admin", "argonath:north", "argonath::admin"]}, {}),
        ({"groups": ["argonath:north:system-admin", "argonath:north:service"]}, {}),
        ({"groups": ["argonath:NORTH:admin", "argonath:a b:admin", "argonath:a:b:admin"]}, {}),
        ({"groups": [7, None, {"argonath:north:admin": 1}]}, {}),
        ({"groups": {"argonath:north:admin": True}}, {}),
        ({}, {}),
    ],
)
def test_a_list_of_groups_gives_a_role_by_tenant_and_nothing_more(
    claims: dict[str, object], given: dict[str, str]
) -> None:
    assert memberships(claims, "groups", "argonath:") == given


def test_a_dotted_claim_leads_into_objects_unless_it_is_the_name_itself() -> None:
    roles = ["argonath:north:member"]
    inside = {"realm_access": {"roles": roles}}
    assert memberships(inside, "realm_access.roles", "argonath:") == {"north": "member"}
    named = {"https://hospital.example/roles": roles}
    assert memberships(named, "https://hospital.example/roles", "argonath:") == {"north": "member"}


def test_entras_user_name_stands_in_for_the_address() -> None:
    assert email_of({"email": "Ada@Hospital.Example"}) == "ada@hospital.example"
    assert email_of({"preferred_username": "ada@hospital.example"}) == "ada@hospital.example"
    assert email_of({"preferred_username": "ada", "email": None}) == ""


def test_of_several_tenants_one_must_be_chosen_and_only_of_those() -> None:
    both = {"north": Role.VIEWER, "south": Role.ADMIN}
    assert choose(both, "south") == ("south", Role.ADMIN)
    assert choose({"north": Role.VIEWER}, "") == ("north", Role.VIEWER)
    with pytest.raises(TenantNotChosen, match="north, south"):
        choose(both, "")
    with pytest.raises(TenantNotChosen):
        choose(both, "west")
    with pytest.raises(NoMembership):
        choose({}, "north")
