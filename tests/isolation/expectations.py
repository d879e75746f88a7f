"""What must happen, from the policy alone; pure.

The table of the portal's pages stands here: a page that is not in it fails the matrix.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from gateway import access
from gateway.access import Action, Kind, Resource, Verdict
from gateway.identity import Principal
from gateway.routes import action_of
from tests.isolation.routes import Route


class Expected(StrEnum):
    """The kinds of answer."""

    ALLOWED = "allowed"
    SIGN_IN = "sign in first"
    REFUSED = "refused"
    ABSENT = "as if absent"
    NOTHING_THERE = "no such method"


STATUSES: Mapping[Expected, frozenset[int]] = {
    Expected.SIGN_IN: frozenset({401}),
    Expected.REFUSED: frozenset({403}),
    Expected.NOTHING_THERE: frozenset({200, 204, 400, 401, 403, 404, 405}),
}
# An allowed request may be a bad one, or about something that is not there.
NEVER_ALLOWED = frozenset({401, 403, 500, 502, 503, 504})
ORTHANC_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE"})
WRITES = frozenset({"POST", "PUT", "DELETE", "PATCH"})


class Page(StrEnum):
    """Pages that ask for no action."""

    PUBLIC = "public"
    ANYBODY = "anybody"  # who is signed in


type Needs = Action | Page

# path: what GET needs, what POST needs
PAGES: Mapping[str, tuple[Needs | None, Needs | None]] = {
    "/": (Page.ANYBODY, None),
    "/assets/htmx.js": (Page.PUBLIC, None),
    "/audit": (Action.READ_AUDIT, None),
    "/audit/export": (Action.READ_AUDIT, None),
    "/auth/explain": (Page.PUBLIC, None),
    "/enter": (Page.ANYBODY, Page.ANYBODY),
    "/extensions": (Action.MANAGE_KEYS, None),
    "/extensions/{name}": (None, Action.MANAGE_KEYS),
    "/health": (Page.PUBLIC, None),
    "/invitations/{token}": (Page.PUBLIC, Page.PUBLIC),
    "/keys": (Action.MANAGE_KEYS, Action.MANAGE_KEYS),
    "/keys/{credential_id}/revoke": (None, Action.MANAGE_KEYS),
    "/links/{number}/revoke": (None, Action.SHARE_STUDY),
    "/metrics": (Action.READ_METRICS, None),
    "/oidc/callback": (Page.PUBLIC, None),
    "/oidc/link": (None, Page.ANYBODY),
    "/oidc/sign-in": (Page.PUBLIC, None),
    "/people": (Action.MANAGE_PEOPLE, Action.MANAGE_PEOPLE),
    "/people/invitations": (None, Action.MANAGE_PEOPLE),
    "/people/invitations/{invitation_id}/withdraw": (None, Action.MANAGE_PEOPLE),
    "/people/{person_id}/disabled": (None, Action.MANAGE_TENANTS),
    "/people/{person_id}/remove": (None, Action.MANAGE_PEOPLE),
    "/people/{person_id}/role": (None, Action.MANAGE_PEOPLE),
    "/routing/deliveries": (Action.READ_ROUTING, None),
    "/routing/deliveries/{number}": (Action.READ_ROUTING, None),
    "/routing/deliveries/{number}/release": (None, Action.CHANGE_ROUTING),
    "/routing/destinations": (Action.READ_ROUTING, None),
    "/routing/destinations/new": (Action.CHANGE_ROUTING, Action.CHANGE_ROUTING),
    "/routing/destinations/{number}": (Action.CHANGE_ROUTING, Action.CHANGE_ROUTING),
    "/routing/destinations/{number}/delete": (None, Action.CHANGE_ROUTING),
    "/routing/destinations/{number}/test": (None, Action.CHANGE_ROUTING),
    "/routing/rules": (Action.READ_ROUTING, None),
    "/routing/rules/new": (Action.CHANGE_ROUTING, Action.CHANGE_ROUTING),
    "/routing/rules/{number}": (Action.CHANGE_ROUTING, Action.CHANGE_ROUTING),
    "/routing/rules/{number}/delete": (None, Action.CHANGE_ROUTING),
    "/routing/rules/{number}/switch": (None, Action.CHANGE_ROUTING),
    "/s/": (Page.PUBLIC, None),
    "/s/{token}": (Page.PUBLIC, Page.PUBLIC),
    "/shared": (Action.READ_STUDY, None),
    "/shares/{number}/revoke": (None, Action.SHARE_STUDY),
    "/sign-in": (Page.PUBLIC, Page.PUBLIC),
    "/sign-out": (None, Page.PUBLIC),
    "/static/{filename}": (Page.PUBLIC, None),
    "/studies": (Action.READ_STUDY, None),
    "/studies/{uid}": (Action.READ_STUDY, None),
    "/studies/{uid}/links": (None, Action.SHARE_STUDY),
    "/studies/{uid}/shares": (None, Action.SHARE_STUDY),
    "/tenants": (Action.MANAGE_TENANTS, Action.MANAGE_TENANTS),
    "/tenants/{tenant_id}": (Action.MANAGE_TENANTS, None),
    "/tenants/{tenant_id}/called": (None, Action.MANAGE_TENANTS),
    "/tenants/{tenant_id}/called/delete": (None, Action.MANAGE_TENANTS),
    "/tenants/{tenant_id}/calling": (None, Action.MANAGE_TENANTS),
    "/tenants/{tenant_id}/calling/delete": (None, Action.MANAGE_TENANTS),
    "/tenants/{tenant_id}/certificates": (None, Action.MANAGE_TENANTS),
    "/tenants/{tenant_id}/certificates/delete": (None, Action.MANAGE_TENANTS),
    "/tenants/{tenant_id}/tls": (None, Action.MANAGE_TENANTS),
    "/viewer/": (Action.READ_STUDY, None),
    "/viewer/static/{filename}": (Page.ANYBODY, None),
    "/viewer/{route}": (Action.READ_STUDY, None),
}
# What of a tenant's own these places name; the rest of the places name nothing that is owned.
OWNED = frozenset(
    {"study", "series", "instance", "patient", "accession", "uid", "number", "credential_id"}
    | {"person_id", "invitation_id", "id"}
)
# Kinds whose resources have no owner among the tenants.
_UNOWNED = frozenset({Kind.TENANT, Kind.ARCHIVE, Kind.NOTHING})


def needs(route: Route, method: str, path: str) -> Needs | None:
    """The action of a request; None where the portal takes no such method.

    Raises KeyError for a page that is not in `PAGES`.
    """
    method = "GET" if method == "HEAD" else method
    if route.group == "portal":
        read, write = PAGES[route.path]
        return {"GET": read, "POST": write}.get(method)
    return action_of(method, path.partition("?")[0].removeprefix("/orthanc") or "/")


def expected(
    route: Route, method: str, path: str, principal: Principal | None, owner: str | None
) -> Expected:
    """What `principal` must meet on `path`, whose resource `owner` has (None: nobody)."""
    if method not in ORTHANC_METHODS:
        return Expected.NOTHING_THERE
    wanted = needs(route, method, path)
    if wanted is None:
        return Expected.NOTHING_THERE
    if wanted is Page.PUBLIC:
        return Expected.ALLOWED
    if principal is None:
        return Expected.SIGN_IN
    if not isinstance(wanted, Action):
        return Expected.ALLOWED
    is_owned = bool(OWNED & set(route.places)) and access.KINDS[wanted] not in _UNOWNED
    resource = Resource(owner) if is_owned else None
    return {
        Verdict.ALLOWED: Expected.ALLOWED,
        Verdict.NOT_ALLOWED: Expected.REFUSED,
        Verdict.NOT_FOUND: Expected.ABSENT,
    }[access.verdict(principal, wanted, resource)]


def by_link(route: Route, method: str, path: str, *, is_its_study: bool) -> Expected:
    """What somebody must meet who came by a link, whose study the path names or does not."""
    wanted = needs(route, method, path) if method in ORTHANC_METHODS else None
    if wanted is None:
        return Expected.NOTHING_THERE
    if wanted is Page.PUBLIC or route.path.startswith("/viewer/"):
        return Expected.ALLOWED
    if route.group == "portal" or wanted is not Action.READ_STUDY:
        return Expected.SIGN_IN
    names_nothing = not OWNED & set(route.places)
    return Expected.ALLOWED if names_nothing or is_its_study else Expected.ABSENT


def may_know(principal: Principal | None, wanted: Needs | None) -> bool:
    """Whether the answer may tell of both tenants: to the system's administrator, of tenants."""
    if principal is None or not access.is_system(principal):
        return False
    if principal.tenant_id is None:
        return True
    return wanted is Page.ANYBODY or (
        isinstance(wanted, Action) and access.KINDS[wanted] is Kind.TENANT
    )
