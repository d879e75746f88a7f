"""Research projects under /anonymize: list, create, change, delete; who is behind a pseudonym."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, cast

from flask import Blueprint, current_app, flash, redirect, render_template, request
from flask.typing import ResponseReturnValue

from extensions.anonymize import identities, projects
from extensions.anonymize.action import ANONYMIZE
from extensions.anonymize.options import (
    CHANGEABLE,
    LONGEST_DESCRIPTION,
    SWITCHES,
    Options,
    changed,
    options_of,
)
from gateway import access, actions
from gateway.db import Session
from gateway.errors import Conflict, GatewayError, InvalidInput, NotFound
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


@hookimpl
def missing_of_step(session: Session, step: actions.Step) -> Sequence[str]:
    """A project that is not there."""
    if step.action != ANONYMIZE.name:
        return []
    try:
        projects.find_project(session, step.settings["project"])
    except NotFound:
        cure = "create it first, or choose another."
        return [f"there is no research project {step.settings['project']!r}; {cure}"]
    return []


@pages.get("/projects")
@Needs(access.Action.READ_ROUTING)
def show_projects() -> str:
    """Every project with its options."""
    with _portal().tenant_session() as session:
        found = projects.list_projects(session)
    return render_template(
        "anonymize/projects.html",
        found=found,
        may_change=_portal().may(access.Action.CHANGE_ROUTING),
        may_reidentify=_portal().may(access.Action.REIDENTIFY),
    )


@pages.get("/projects/new")
@Needs(access.Action.CHANGE_ROUTING)
def show_new(error: GatewayError | None = None) -> ResponseReturnValue:
    """The form of a new project."""
    values = dict(request.form) if error else Options().model_dump()
    page = render_template(
        "anonymize/new.html",
        switches=SWITCHES,
        longest=LONGEST_DESCRIPTION,
        values=values,
        error=error,
    )
    return page, error.http_status if error else 200


@pages.post("/projects/new")
@Needs(access.Action.CHANGE_ROUTING)
def create() -> ResponseReturnValue:
    """Create a project."""
    key = _portal().settings.encryption_key
    try:
        options = options_of(request.form)
        with _portal().tenant_session() as session:
            project = projects.create_project(
                session,
                request.form.get("name", ""),
                options,
                description=request.form.get("description", ""),
                encryption_key=key,
                **_portal().who(),
            )
    except (InvalidInput, Conflict) as error:
        return show_new(error)
    flash(f"The research project {project.name} is created.")
    return redirect("/anonymize/projects", 303)


@pages.get("/projects/<int:number>")
@Needs(access.Action.CHANGE_ROUTING)
def show_project(
    number: int, error: GatewayError | None = None, typed: Mapping[str, str] | None = None
) -> ResponseReturnValue:
    """What can be changed, what is fixed, and what still uses the project."""
    with _portal().tenant_session() as session:
        project = projects.get_project(session, number)
        uses = _portal().uses_of(session, project.step)
    kept = project.options.model_dump() | {"description": project.description}
    page = render_template(
        "anonymize/project.html",
        project=project,
        uses=uses,
        switches=CHANGEABLE,
        longest=LONGEST_DESCRIPTION,
        values=kept if typed is None else typed,
        error=error,
    )
    return page, error.http_status if error else 200


@pages.post("/projects/<int:number>")
@Needs(access.Action.CHANGE_ROUTING)
def change(number: int) -> ResponseReturnValue:
    """Change the description, and the options on which no pseudonym depends."""
    try:
        with _portal().tenant_session() as session:
            project = projects.get_project(session, number)
            projects.change_project(
                session,
                project,
                description=request.form.get("description", ""),
                options=changed(project.options, request.form),
                **_portal().who(),
            )
    except InvalidInput as error:
        return show_project(number, error, request.form)
    flash(f"The research project {project.name} is saved.")
    return redirect(f"/anonymize/projects/{number}", 303)


@pages.post("/projects/<int:number>/delete")
@Needs(access.Action.CHANGE_ROUTING)
def delete(number: int) -> ResponseReturnValue:
    """Delete a project that nothing uses, with its way back."""
    with _portal().tenant_session() as session:
        project = projects.get_project(session, number)
    try:
        with _portal().tenant_session() as session:
            projects.delete_project(
                session,
                project,
                confirmed=request.form.get("confirmed", ""),
                uses=_portal().uses_of(session, project.step),
                **_portal().who(),
            )
    except (InvalidInput, projects.ProjectInUse) as error:
        _portal().record_failure("delete-project", f"research project {project.name}", error.code)
        return show_project(number, error)
    flash(f"The research project {project.name} and its way back are deleted.")
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
