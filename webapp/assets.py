"""Files for the browser, and the headers that forbid every other source."""

from __future__ import annotations

from importlib.resources import files

from flask import Flask, Response, current_app

from gateway.needs import Needs, Open

HTMX = "static/django_htmx/htmx-2.min.js"  # Django itself is not installed
POLICY = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)


def install(app: Flask) -> None:
    """Serve htmx from its package and send the security headers."""
    script = files("django_htmx").joinpath(HTMX).read_bytes()

    @Needs(Open.TO_ALL)
    def htmx() -> Response:
        answer = Response(script, mimetype="text/javascript")
        answer.cache_control.max_age = 86400
        return answer

    app.add_url_rule("/assets/htmx.js", "htmx", htmx)
    Needs(Open.TO_ALL)(app.view_functions["static"])
    app.after_request(_protect)


def _protect(answer: Response) -> Response:
    answer.headers.setdefault("Content-Security-Policy", POLICY)
    answer.headers.setdefault("X-Content-Type-Options", "nosniff")
    answer.headers.setdefault("Referrer-Policy", "same-origin")
    answer.headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
    if current_app.config["SESSION_COOKIE_SECURE"]:  # people come by HTTPS alone
        answer.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    if answer.mimetype in ("text/html", "application/json"):
        answer.headers["Cache-Control"] = "no-store"  # pages hold patients' names
    return answer
