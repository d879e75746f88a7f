"""Which action an HTTP request on Orthanc is; nobody may do what is not in the table.

The node asks it for each request; the portal asks it to explain a refusal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http.cookies import CookieError, SimpleCookie

from gateway.access import Action
from gateway.orthanc_routes import RAW_ARCHIVE

SESSION_COOKIE = "argonath_session"
LINK_COOKIE = "argonath_link"

type Row = tuple[Action, str, str]

_UID = r"[0-9.]{1,64}"
# action, methods, path (a pattern for the whole of it)
TABLE: tuple[Row, ...] = (
    (Action.READ_STUDY, "GET HEAD", r"/dicom-web/(studies|series|instances)/?"),
    (Action.READ_STUDY, "GET HEAD", rf"/dicom-web/studies/{_UID}(/[^/]+)*/?"),
    (Action.READ_STUDY, "GET HEAD", r"/wado"),
    (Action.STORE_STUDY, "POST", rf"/dicom-web/studies(/{_UID})?/?"),
    # nginx turns the first path into the second (orthanc_plugins/deletion.py)
    (Action.DELETE_STUDY, "DELETE", rf"/(dicom-web|deletions)/studies/{_UID}/?"),
    (Action.LOCATE_FILES, "GET POST", rf"/places/studies/{_UID}"),
    *((Action.RAW_ARCHIVE, methods, path) for methods, path in RAW_ARCHIVE),
)
# Nothing that Orthanc might read in another way than we do: `..`, `//`, what is still encoded.
_AMBIGUOUS = re.compile(r"(^|/)\.{1,2}(/|$)|//|%|\\|[\x00-\x1f]")


def _compiled(table: Iterable[Row]) -> Mapping[str, tuple[tuple[Action, re.Pattern[str]], ...]]:
    """For each method, its actions in the order of the table, each with one pattern."""
    found: dict[str, dict[Action, list[str]]] = {}
    for action, methods, path in table:
        for method in methods.split():
            found.setdefault(method, {}).setdefault(action, []).append(path)
    return {
        method: tuple(
            (action, re.compile("|".join(f"(?:{path})" for path in paths), re.ASCII))
            for action, paths in actions.items()
        )
        for method, actions in found.items()
    }


_ROUTES = _compiled(TABLE)


def action_of(method: str, path: str) -> Action:
    """The action of `method` (GET, POST...) on `path` (no query string, as Orthanc sees it)."""
    if not _AMBIGUOUS.search(path):
        for action, pattern in _ROUTES.get(method, ()):
            if pattern.fullmatch(path):
                return action
    return Action.UNKNOWN_ROUTE


def token_of(authorization: str, cookie: str) -> str:
    """The token of a Bearer header or session cookie; empty when there is none."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    return _cookie(cookie, SESSION_COOKIE)


def visit_of(cookie: str) -> str:
    """The token of a visit by a link; empty when there is none."""
    return _cookie(cookie, LINK_COOKIE) if LINK_COOKIE in cookie else ""


def _cookie(header: str, name: str) -> str:
    try:
        morsel = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return morsel.value if morsel else ""
