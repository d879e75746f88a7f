"""What must happen, from the policy and what each page of the portal declares; pure.

A declaration that is too weak would make the matrix expect the leak. So who may open what more
than admins may is stated here once more, by role and not by action, and the stricter holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from gateway import access
from gateway.access import Action, Kind, Resource, Verdict
from gateway.identity import Principal, Role
from gateway.needs import Open
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


# Stated apart from what the pages themselves declare, so that a page with too weak a need is found:
# who more than admins may open, and what is for system admins alone. All else is for admins.
OPEN_TO_ALL = frozenset(
    {
        "GET /assets/htmx.js", "GET /auth/explain", "GET /health", "GET /invitations/{token}",
        "POST /invitations/{token}", "GET /oidc/callback", "GET /oidc/sign-in", "GET /s/",
        "GET /s/{token}", "POST /s/{token}", "GET /sign-in", "POST /sign-in", "POST /sign-out",
        "GET /static/{filename}",
    }
)  # fmt: skip
OPEN_TO_MEMBERS = frozenset(
    {
        "GET /anonymize/projects",
        "GET /", "GET /enter", "POST /enter", "POST /oidc/link", "GET /routing/deliveries",
        "GET /routing/deliveries.csv", "GET /routing/deliveries/instances.csv",
        "GET /routing/deliveries/{number}",
        "GET /routing/destinations", "GET /routing/rules",
        "GET /routing/rules.yaml", "GET /routing/rules/attention", "GET /routing/rules/history",
        "GET /routing/rules/history/{version}",
        "GET /polling/sources", "GET /shared", "GET /studies", "GET /studies/{uid}",
        "GET /viewer/", "GET /viewer/{route}", "GET /viewer/static/{filename}",
    }
)  # fmt: skip
OF_THE_SYSTEM = (
    "/tenants", "/metrics", "/people/{person_id}/disabled", "/people/system-admins",
)  # fmt: skip
_SYSTEM = frozenset({Role.SYSTEM_ADMIN, Role.SERVICE})
_ADMINS = _SYSTEM | {Role.ADMIN, Role.OWNER}
# What of a tenant's own these places name; the rest of the places name nothing that is owned.
OWNED = frozenset(
    {"study", "series", "instance", "patient", "accession", "uid", "number", "credential_id"}
    | {"person_id", "invitation_id", "id", "run_id", "tryout_id", "table_name"}
)
# Kinds whose resources have no owner among the tenants.
_UNOWNED = frozenset({Kind.TENANT, Kind.ARCHIVE, Kind.NOTHING})


def least(route: Route, method: str) -> frozenset[Role] | None:
    """Who at most may open a page of the portal; None: also who is not signed in."""
    page = f"{method} {route.path}"
    if page in OPEN_TO_ALL:
        return None
    if page in OPEN_TO_MEMBERS:
        return frozenset(Role)
    return _SYSTEM if route.path.startswith(OF_THE_SYSTEM) else _ADMINS


def too_weak(routes: Iterable[Route]) -> list[str]:
    """The pages that by what they declare are open to more than `least` says."""
    found = []
    for route in routes:
        for method, wanted in route.needs:
            most = least(route, method)
            opened = frozenset(Role) if isinstance(wanted, Open) else access.POLICY[wanted]
            if most is not None and (wanted is Open.TO_ALL or opened - most):
                found.append(f"{method} {route.path}")
    return found


def needs(route: Route, method: str, path: str) -> Action | Open | None:
    """What a request needs; None where the portal takes no such method."""
    method = _as_get(method)
    if route.group == "portal":
        return dict(route.needs).get(method)
    return action_of(method, path.partition("?")[0].removeprefix("/orthanc") or "/")


def _as_get(method: str) -> str:
    return "GET" if method == "HEAD" else method


def expected(
    route: Route, method: str, path: str, principal: Principal | None, owner: str | None
) -> Expected:
    """What `principal` must meet on `path`, whose resource `owner` has (None: nobody)."""
    if method not in ORTHANC_METHODS:
        return Expected.NOTHING_THERE
    wanted = needs(route, method, path)
    if wanted is None:
        return Expected.NOTHING_THERE
    most = least(route, _as_get(method)) if route.group == "portal" else frozenset(Role)
    if wanted is Open.TO_ALL and most is None:
        return Expected.ALLOWED
    if principal is None:
        return Expected.SIGN_IN
    if most is not None and principal.role not in most:
        return Expected.REFUSED
    if isinstance(wanted, Open):
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
    if route.group == "portal" and least(route, _as_get(method)) is None:
        return Expected.ALLOWED
    if route.path.startswith("/viewer/"):
        return Expected.ALLOWED
    if route.group == "portal" or wanted is not Action.READ_STUDY:
        return Expected.SIGN_IN
    names_nothing = not OWNED & set(route.places)
    return Expected.ALLOWED if names_nothing or is_its_study else Expected.ABSENT


def may_know(principal: Principal | None, wanted: Action | Open | None) -> bool:
    """Whether the answer may tell of both tenants: to the system's administrator, of tenants."""
    if principal is None or not access.is_system(principal):
        return False
    if principal.tenant_id is None:
        return True
    return wanted is Open.TO_SIGNED_IN or (
        isinstance(wanted, Action) and access.KINDS[wanted] is Kind.TENANT
    )
