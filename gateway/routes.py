"""Which action an HTTP request on Orthanc is. A path that is not here needs RAW_ARCHIVE.

The node asks it for each request; the portal asks it to explain a refusal.
"""

from __future__ import annotations

import re
from http.cookies import CookieError, SimpleCookie

from gateway.access import Action

SESSION_COOKIE = "argonath_session"

_UID = r"[0-9.]{1,64}"
_READ = re.compile(
    rf"/dicom-web/(studies|series|instances|studies/{_UID}(/.*)?)/?", re.ASCII | re.DOTALL
)
_STORE = re.compile(rf"/dicom-web/studies(/{_UID})?/?", re.ASCII)
_DOT_SEGMENT = re.compile(r"(^|/)\.{1,2}(/|$)|//|%|\\|[\x00-\x1f]")


def action_of(method: str, path: str) -> Action:
    """The action of `method` (GET, POST...) on `path` (no query string, as Orthanc sees it)."""
    if _DOT_SEGMENT.search(path):
        return Action.RAW_ARCHIVE
    if method in ("GET", "HEAD") and (_READ.fullmatch(path) or path == "/wado"):
        return Action.READ_STUDY
    if method == "POST" and _STORE.fullmatch(path):
        return Action.STORE_STUDY
    return Action.RAW_ARCHIVE


def token_of(authorization: str, cookie: str) -> str:
    """The token of a Bearer header or session cookie; empty when there is none."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    try:
        morsel = SimpleCookie(cookie).get(SESSION_COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""
