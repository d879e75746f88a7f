"""The portal host: the pages that need no extension, and the frame for those of extensions."""

from __future__ import annotations

import atexit
import logging

from flask import Flask
from flask_wtf import CSRFProtect
from werkzeug.middleware.proxy_fix import ProxyFix

from gateway import logs, plugins
from gateway.actions import Actions
from gateway.bearer import Authenticator
from gateway.db import Database
from gateway.errors import InvalidSettings
from gateway.portal import PortalContext
from gateway.settings import Settings
from webapp import (
    ae_titles,
    assets,
    audit,
    auth,
    errors,
    explain,
    extensions,
    guard,
    health,
    invitations,
    keys,
    links,
    metrics,
    oidc,
    overview,
    people,
    sharing,
    studies,
    tenants,
    view,
)

log = logging.getLogger(__name__)


def create_app(settings: Settings | None = None) -> Flask:
    """The WSGI application; reads the settings from the environment unless they are given."""
    if settings is None:
        settings = Settings.load()
        logs.configure(settings.log_level)
    if not settings.secret_key:
        raise InvalidSettings("ARGONATH_SECRET_KEY: the portal signs its forms with it.")
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY=settings.secret_key,
        SESSION_COOKIE_NAME="argonath_form",
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.secure_cookies,
        MAX_CONTENT_LENGTH=1 << 20,
        WTF_CSRF_TIME_LIMIT=settings.session_hours * 3600,
        WTF_CSRF_SSL_STRICT=False,  # behind a TLS proxy the Referer names another host
    )
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    # nginx is the only way in and overwrites what a client says in these headers.
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)  # type: ignore[method-assign]

    found = plugins.discover(settings.blocked_extensions)
    database = Database(settings.database_url)
    atexit.register(database.close)  # else the pool's threads hold the process for 20 s
    manager = plugins.load("portal", found)
    app.extensions["argonath"] = PortalContext(
        settings,
        database,
        found,
        guard.principal,
        guard.origin,
        Actions.of(manager),
        manager.hook,
    )
    app.extensions["argonath_authenticator"] = Authenticator.of(settings, database)
    for module in (guard, errors, assets, view):
        module.install(app)
    CSRFProtect(app)  # asked after the guard
    for part in (
        auth,
        oidc,
        explain,
        overview,
        studies,
        sharing,
        links,
        tenants,
        ae_titles,
        people,
        invitations,
        keys,
        audit,
        extensions,
        health,
        metrics,
    ):
        app.register_blueprint(part.pages)
    extensions.mount(app, manager)
    for endpoint in guard.undeclared(app):
        log.error("a page does not say what it needs and is closed", extra={"endpoint": endpoint})
    return app
