"""The one policy, which answers: may this principal do this to that.

Data, not branches: `POLICY` says which roles may do an action, `KINDS` what the action is done to;
the owner's tenant must be the principal's, unless the principal acts across tenants. Everything
that is not in the table is refused.
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
    LOCATE_FILES = "locate-files"  # on Orthanc's disk
    STORE_STUDY = "store-study"
    COMMIT_STORAGE = "commit-storage"  # be told what of one's own is safe here
    READ_WORKLIST = "read-worklist"
    DELETE_STUDY = "delete-study"
    SHARE_STUDY = "share-study"
    READ_ROUTING = "read-routing"
    CHANGE_ROUTING = "change-routing"
    REIDENTIFY = "reidentify"  # who is behind a pseudonym of a research project
    READ_AUDIT = "read-audit"
    MANAGE_KEYS = "manage-keys"
    MANAGE_PEOPLE = "manage-people"
    MANAGE_OWNERS = "manage-owners"
    MANAGE_TENANTS = "manage-tenants"
    READ_METRICS = "read-metrics"
    RAW_ARCHIVE = "raw-archive"
    UNKNOWN_ROUTE = "unknown-route"


class Kind(StrEnum):
    """What an action is done to."""

    STUDY = "study"
    ROUTING = "routing"
    AUDIT = "audit"
    KEY = "key"
    PERSON = "person"
    TENANT = "tenant"
    ARCHIVE = "archive"  # the whole of it, with what has no owner: patients, jobs, settings
    NOTHING = "nothing"  # nobody knows what it would be


class Verdict(StrEnum):
    """What the policy answers."""

    ALLOWED = "allowed"
    NOT_ALLOWED = "not allowed"
    NOT_FOUND = "not found"


_EVERYBODY = frozenset(Role)
_WRITERS = _EVERYBODY - {Role.VIEWER}
_ADMINS = frozenset({Role.ADMIN, Role.OWNER, Role.SYSTEM_ADMIN, Role.SERVICE})
_SYSTEM = frozenset({Role.SYSTEM_ADMIN, Role.SERVICE})

POLICY: Mapping[Action, frozenset[Role]] = {
    Action.READ_STUDY: _EVERYBODY,
    Action.LOCATE_FILES: frozenset({Role.SERVICE}),
    Action.STORE_STUDY: _WRITERS - {Role.SYSTEM_ADMIN},
    Action.COMMIT_STORAGE: _WRITERS - {Role.SYSTEM_ADMIN},
    Action.READ_WORKLIST: frozenset(),  # nothing says what is scheduled
    Action.DELETE_STUDY: _ADMINS,
    Action.SHARE_STUDY: _ADMINS,
    Action.READ_ROUTING: _EVERYBODY,
    Action.CHANGE_ROUTING: _ADMINS,
    Action.REIDENTIFY: frozenset({Role.ADMIN, Role.OWNER}),
    Action.READ_AUDIT: _ADMINS,
    Action.MANAGE_KEYS: _ADMINS,
    Action.MANAGE_PEOPLE: _ADMINS,
    Action.MANAGE_OWNERS: _ADMINS - {Role.ADMIN},
    Action.MANAGE_TENANTS: _SYSTEM,
    Action.READ_METRICS: _SYSTEM,
    Action.RAW_ARCHIVE: _SYSTEM,
    Action.UNKNOWN_ROUTE: frozenset(),
}
KINDS: Mapping[Action, Kind] = {
    Action.READ_STUDY: Kind.STUDY,
    Action.LOCATE_FILES: Kind.STUDY,
    Action.STORE_STUDY: Kind.STUDY,
    Action.COMMIT_STORAGE: Kind.STUDY,
    Action.READ_WORKLIST: Kind.NOTHING,
    Action.DELETE_STUDY: Kind.STUDY,
    Action.SHARE_STUDY: Kind.STUDY,
    Action.READ_ROUTING: Kind.ROUTING,
    Action.CHANGE_ROUTING: Kind.ROUTING,
    Action.REIDENTIFY: Kind.STUDY,
    Action.READ_AUDIT: Kind.AUDIT,
    Action.MANAGE_KEYS: Kind.KEY,
    Action.MANAGE_PEOPLE: Kind.PERSON,
    Action.MANAGE_OWNERS: Kind.PERSON,
    Action.MANAGE_TENANTS: Kind.TENANT,
    Action.READ_METRICS: Kind.TENANT,
    Action.RAW_ARCHIVE: Kind.ARCHIVE,
    Action.UNKNOWN_ROUTE: Kind.NOTHING,
}
# Whoever has entered a tenant sees that tenant alone, whatever the role.
OUTSIDE_TENANTS = frozenset({Kind.ARCHIVE, Kind.NOTHING})
# Whoever came by a link, to the one study that it is bound to.
BY_LINK = frozenset({Action.READ_STUDY})


@dataclass(frozen=True)
class Resource:
    """What an action is done to: whose it is (None: nobody's) and what it is called."""

    tenant_id: str | None
    name: str = ""


def permits(principal: Principal, action: Action) -> bool:
    """Whether the role may do `action` to something of its own."""
    if principal.tenant_id is not None and KINDS[action] in OUTSIDE_TENANTS:
        return False
    if principal.study_uid is not None and action not in BY_LINK:
        return False
    return principal.role in POLICY[action]


def is_system(principal: Principal) -> bool:
    """Whether the principal is a system admin or one of our own processes."""
    return principal.role in _SYSTEM


def verdict(principal: Principal, action: Action, resource: Resource | None = None) -> Verdict:
    """The answer: what belongs to somebody else, or to nobody, does not exist."""
    if not permits(principal, action):
        return Verdict.NOT_ALLOWED
    if resource is not None and not owns(principal, resource):
        return Verdict.NOT_FOUND
    return Verdict.ALLOWED


def require(principal: Principal, action: Action, resource: Resource | None = None) -> None:
    """Raise `NotAllowed` or `NotFound` unless the verdict is `ALLOWED`."""
    match verdict(principal, action, resource):
        case Verdict.NOT_ALLOWED:
            raise NotAllowed(f"{principal.role} may not {action}.")
        case Verdict.NOT_FOUND:
            raise NotFound(resource.name if resource else "")


def owns(principal: Principal, resource: Resource) -> bool:
    """Whether the resource is the principal's tenant's, or the principal acts across tenants."""
    if principal.tenant_id is None:
        return is_system(principal)
    return resource.tenant_id == principal.tenant_id
