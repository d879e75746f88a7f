"""The browser's session cookie, however somebody signed in."""

from __future__ import annotations

from flask import redirect
from werkzeug.wrappers import Response

from gateway.routes import SESSION_COOKIE
from webapp import guard


def signed_in(token: str, target: str) -> Response:
    """Give the browser its session and send it to `target`."""
    settings = guard.context().settings
    answer = redirect(target, 303)
    answer.set_cookie(
        SESSION_COOKIE,
        token,
        max_age=settings.session_hours * 3600,
        httponly=True,
        samesite="Lax",
        secure=settings.secure_cookies,
    )
    return answer


def local(target: str) -> str:
    """`target` if it is a path of ours, else the first page: never send a person elsewhere."""
    unsafe = not target.startswith("/") or target.startswith(("//", "/\\", "/sign-"))
    return "/" if unsafe or any(ord(letter) < 32 for letter in target) else target
