"""Research projects under /anonymize: the list, a new one, and who is behind a pseudonym."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

from flask import Blueprint, current_app, flash, redirect, render_template, request
from flask.typing import ResponseReturnValue

from extensions.anonymize import identities, projects
from extensions.anonymize.action import ANONYMIZE
from extensions.anonymize.options import SWITCHES, Options, options_of
from gateway import access, actions
from gateway.errors import Conflict, GatewayError, InvalidInput
from gateway.hookspecs import hookimpl
from gateway.needs import Needs
from gateway.portal import PortalContext


class ProjectPages(Blueprint):
    """The blueprint, and what of it stands in the menu."""

    navigation: ClassVar[Sequence[tuple[str, str]]] = (("Research projects", "show_projects"),)


pages = ProjectPages("anonymize", "extensions.anonymize", template_folder="templates")


@hookimpl
def portal_blueprint() -> Blueprint:
    """Every page, under /anonymize."""
    return pages


@hookimpl
def rule_actions() -> Sequence[actions.Action]:
    """`anonymize`."""
    return [ANONYMIZE]


@pages.get("/projects")
@Needs(access.Action.READ_ROUTING)
def show_projects() -> str:
    """Every project with its options."""
    with _portal().tenant_session() as session:
        found = projects.list_projects(session)
    return render_template(
        "anonymize/projects.html",
        found=found,
        may_create=_portal().may(access.Action.CHANGE_ROUTING),
        may_reidentify=_portal().may(access.Action.REIDENTIFY),
    )


@pages.get("/projects/new")
@Needs(access.Action.CHANGE_ROUTING)
def show_new(error: GatewayError | None = None) -> ResponseReturnValue:
    """The form of a new project."""
    values = dict(request.form) if error else Options().model_dump()
    page = render_template("anonymize/new.html", switches=SWITCHES, values=values, error=error)
    return page, error.http_status if error else 200


@pages.post("/projects/new")
@Needs(access.Action.CHANGE_ROUTING)
def create() -> ResponseReturnValue:
    """Create a project; its options are for good."""
    key = _portal().settings.encryption_key
    try:
        options = options_of(request.form)
        with _portal().tenant_session() as session:
            project = projects.create_project(
                session,
                request.form.get("name", ""),
                options,
                encryption_key=key,
                **_portal().who(),
            )
    except (InvalidInput, Conflict) as error:
        return show_new(error)
    flash(f"The research project {project.name} is created.")
    return redirect("/anonymize/projects", 303)


@pages.get("/projects/<int:number>/identity")
@Needs(access.Action.REIDENTIFY)
def show_identity(number: int) -> str:
    """The form that asks for a pseudonym."""
    with _portal().tenant_session() as session:
        project = projects.get_project(session, number)
    return render_template("anonymize/identity.html", project=project, asked="", person=None)


@pages.post("/projects/<int:number>/identity")
@Needs(access.Action.REIDENTIFY)
def look_up(number: int) -> ResponseReturnValue:
    """Who is behind a pseudonym; the audit keeps that it was asked."""
    asked = request.form.get("pseudonym", "").strip()[:64]
    with _portal().tenant_session() as session:
        project = projects.get_project(session, number)
        key = _portal().settings.encryption_key
        person = identities.look_up(session, project, asked, encryption_key=key, **_portal().who())
    page = render_template("anonymize/identity.html", project=project, asked=asked, person=person)
    return page, 200, {"Cache-Control": "no-store"}


def _portal() -> PortalContext:
    return cast("PortalContext", current_app.extensions["argonath"])
