"""The one policy, which answers: may this principal do this to that.

Data, not branches: `POLICY` says which roles may do an action; the owner's tenant must be the
principal's, unless the principal acts across tenants. Everything that is not in the table is
refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from gateway.errors import NotAllowed, NotFound
from gateway.identity import Principal, Role


class Action(StrEnum):
    """What can be done, over whichever protocol."""

    READ_STUDY = "read-study"
    STORE_STUDY = "store-study"
    DELETE_STUDY = "delete-study"
    READ_ROUTING = "read-routing"
    CHANGE_ROUTING = "change-routing"
    READ_AUDIT = "read-audit"
    MANAGE_KEYS = "manage-keys"
    MANAGE_TENANTS = "manage-tenants"
    READ_METRICS = "read-metrics"
    RAW_ARCHIVE = "raw-archive"


_EVERYBODY = frozenset(Role)
_WRITERS = _EVERYBODY - {Role.VIEWER}
_ADMINS = frozenset({Role.ADMIN, Role.OWNER, Role.SYSTEM_ADMIN, Role.SERVICE})
_SYSTEM = frozenset({Role.SYSTEM_ADMIN, Role.SERVICE})

POLICY: Mapping[Action, frozenset[Role]] = {
    Action.READ_STUDY: _EVERYBODY,
    Action.STORE_STUDY: _WRITERS - {Role.SYSTEM_ADMIN},
    Action.DELETE_STUDY: _ADMINS,
    Action.READ_ROUTING: _EVERYBODY,
    Action.CHANGE_ROUTING: _ADMINS,
    Action.READ_AUDIT: _ADMINS,
    Action.MANAGE_KEYS: _ADMINS,
    Action.MANAGE_TENANTS: _SYSTEM,
    Action.READ_METRICS: _SYSTEM,
    Action.RAW_ARCHIVE: _SYSTEM,
}
# Whoever has entered a tenant sees that tenant alone, whatever the role.
OUTSIDE_TENANTS = frozenset({Action.RAW_ARCHIVE})


@dataclass(frozen=True)
class Resource:
    """What an action is done to: whose it is (None: nobody's) and what it is called."""

    tenant_id: str | None
    name: str = ""


def permits(principal: Principal, action: Action) -> bool:
    """Whether the role may do `action` to something of its own."""
    if principal.tenant_id is not None and action in OUTSIDE_TENANTS:
        return False
    return principal.role in POLICY.get(action, frozenset())


def is_system(principal: Principal) -> bool:
    """Whether the principal is a system admin or one of our own processes."""
    return principal.role in _SYSTEM


def require(principal: Principal, action: Action, resource: Resource | None = None) -> None:
    """Raise `NotAllowed`, or `NotFound` for what belongs to somebody else or to nobody."""
    if not permits(principal, action):
        raise NotAllowed(f"{principal.role} may not {action}.")
    if resource is not None and not owns(principal, resource):
        raise NotFound(resource.name)


def owns(principal: Principal, resource: Resource) -> bool:
    """Whether the resource is the principal's tenant's, or the principal acts across tenants."""
    if principal.tenant_id is None:
        return is_system(principal)
    return resource.tenant_id == principal.tenant_id
