"""Extensions: their pages, what they add to ours, and the switch of each tenant.

An extension that breaks while a page is made costs its own part of that page and nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pluggy
from flask import Blueprint, Flask, current_app, g, redirect, render_template, request
from werkzeug.wrappers import Response

from gateway.access import Action
from gateway.errors import NotFound
from gateway.needs import Needs
from webapp import guard

log = logging.getLogger(__name__)
pages = Blueprint("extensions", __name__)
HOOKS = "argonath-hooks"
PAGES = "argonath-pages"


def mount(app: Flask, manager: pluggy.PluginManager) -> None:
    """Register the blueprint of each extension under /<its name>."""
    app.extensions[HOOKS] = manager
    app.extensions[PAGES] = {}
    app.before_request(_refuse_disabled)
    for name, plugin in manager.list_name_plugin():
        make = getattr(plugin, "portal_blueprint", None)
        if make is None:
            continue
        blueprint = make()
        app.register_blueprint(blueprint, url_prefix=f"/{name}", name=name)
        app.extensions[PAGES][name] = blueprint


def menu() -> Iterator[tuple[str, str]]:
    """(title, endpoint) of the pages of every extension that the tenant has enabled."""
    for name, blueprint in sorted(current_app.extensions[PAGES].items()):
        if name not in disabled():
            for title, endpoint in getattr(blueprint, "navigation", ()):
                yield title, f"{name}.{endpoint.removeprefix('.').rpartition('.')[2]}"


def disabled() -> frozenset[str]:
    """Which extensions the tenant of this request has switched off; no tenant: none."""
    who = g.get("principal")
    if who is None or who.tenant_id is None:
        return frozenset()
    if "disabled" not in g:
        with guard.context().database.tenant_session(who.tenant_id) as session:
            rows = session.execute("SELECT extension FROM extension_setting WHERE NOT enabled")
            g.disabled = frozenset(row["extension"] for row in rows)
    found: frozenset[str] = g.disabled
    return found


def ask(hook: str, *, tenant_id: str | None, **given: Any) -> list[Any]:
    """What each extension answers to `hook` in a session of its own; None is left out."""
    manager: pluggy.PluginManager = current_app.extensions[HOOKS]
    database = guard.context().database
    answers = []
    for call in getattr(manager.hook, hook).get_hookimpls():
        if tenant_id is not None and call.plugin_name in disabled():
            continue
        opened = (
            database.system_session(hook)
            if tenant_id is None
            else database.tenant_session(tenant_id)
        )
        try:
            with opened as session:
                everything = given | {"session": session}
                answer = call.function(**{name: everything[name] for name in call.argnames})
        except Exception:
            log.exception("an extension failed", extra={"extension": call.plugin_name})
            continue
        if answer is not None:
            answers.append(answer)
    return answers


def _refuse_disabled() -> None:
    name = request.blueprint
    if name in current_app.extensions[PAGES] and name in disabled():
        raise NotFound(f"The extension {name} is switched off.")


@pages.get("/extensions")
@Needs(Action.MANAGE_KEYS)
def index() -> str:
    """Every extension of the installation and whether the tenant uses it."""
    return render_template(
        "extensions.html", extensions=guard.context().extensions, disabled=disabled()
    )


@pages.post("/extensions/<name>")
@Needs(Action.MANAGE_KEYS)
def switch(name: str) -> Response:
    """Switch an extension on or off for the tenant."""
    tenant_id = guard.tenant()
    context = guard.context()
    if name not in {extension.name for extension in context.extensions}:
        raise NotFound(f"Extension {name!r}.")
    enabled = request.form.get("enabled") == "yes"
    with context.database.tenant_session(tenant_id) as session:
        session.execute(
            "INSERT INTO extension_setting (tenant_id, extension, enabled) VALUES (%s, %s, %s) "
            "ON CONFLICT (tenant_id, extension) DO UPDATE SET enabled = excluded.enabled",
            [tenant_id, name, enabled],
        )
        action = "enable-extension" if enabled else "disable-extension"
        context.record(session, action, name, tenant_id)
    return redirect("/extensions", 303)
