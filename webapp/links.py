"""Links to one study: made and ended by its owner, opened by whoever has one."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Blueprint, flash, make_response, redirect, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from gateway import share_links, sharing
from gateway.access import Action
from gateway.errors import NotAuthenticated
from gateway.needs import Needs, Open
from gateway.routes import LINK_COOKIE
from gateway.share_links import LinkEnded, WrongCode
from webapp import extensions, guard
from webapp.sharing import expiry
from webapp.studies import series_of

pages = Blueprint("links", __name__)


@pages.post("/studies/<uid>/links")
@Needs(Action.SHARE_STUDY)
def create(uid: str) -> ResponseReturnValue:
    """Make a link. This answer is the only place where it, and its code, are ever shown."""
    tenant_id = guard.tenant()
    context, who = guard.context(), guard.principal()
    expires_at = expiry(request.form.get("lifetime", ""))
    with_code = request.form.get("code") == "yes"
    with context.database.tenant_session(tenant_id) as session:
        link = share_links.create(
            session, tenant_id, uid, expires_at, who.name, with_code=with_code
        )
        action, detail = share_links.made(link, expires_at)
        context.record(session, action, f"study {uid}", tenant_id, detail)
    url = f"{guard.base_url()}/s/{link.token}"
    page = render_template("link_new.html", uid=uid, url=url, code=link.code, until=expires_at)
    return _private(page)


@pages.post("/links/<int:number>/revoke")
@Needs(Action.SHARE_STUDY)
def revoke(number: int) -> Response:
    """End a link, and every visit by it, at once."""
    tenant_id = guard.tenant()
    context = guard.context()
    with context.database.tenant_session(tenant_id) as session:
        uid = share_links.revoke(session, number)
        context.record(session, sharing.REVOKE, f"study {uid}", tenant_id, f"link {number}")
    flash("The link opens nothing any more.")
    return redirect(f"/studies/{uid}", 303)


@pages.get("/s/<token>")
@Needs(Open.TO_ALL)
def ask(token: str) -> ResponseReturnValue:
    """The door. Only the button opens it: what previews an address makes no view of it."""
    wants_code = share_links.wants_code(guard.context().database, token, guard.origin())
    return _private(render_template("link.html", token=token, wants_code=wants_code, error=None))


@pages.post("/s/<token>")
@Needs(Open.TO_ALL)
def enter(token: str) -> ResponseReturnValue:
    """Open the link; from then on the browser shows a cookie, and the link is out of sight."""
    context = guard.context()
    code = request.form.get("code", "").strip()[:32]
    try:
        visit = share_links.visit(context.database, token, code, guard.origin())
    except WrongCode as error:
        page = render_template("link.html", token=token, wants_code=True, error=error)
        return _private(page, error.http_status)
    answer = redirect("/s/", 303)
    answer.set_cookie(
        LINK_COOKIE,
        visit.token,
        max_age=max(1, int((visit.expires_at - datetime.now(UTC)).total_seconds())),
        httponly=True,
        samesite="Lax",
        secure=context.settings.secure_cookies,
    )
    return answer


@pages.get("/s/")
@Needs(Open.TO_ALL)
def show() -> ResponseReturnValue:
    """The study of the visit, and nothing else."""
    database = guard.context().database
    try:
        visitor = share_links.visitor(database, guard.visit())
    except NotAuthenticated:
        raise LinkEnded from None
    uid = visitor.study_uid or ""
    with database.system_session("study of a link") as session:
        study = share_links.owner_and_study(session, uid)
    if study is None:
        raise LinkEnded
    series, trouble = series_of(study["tenant_id"], uid)
    answers = extensions.ask("study_links", tenant_id=None, study_uids=[uid])
    return _private(
        render_template(
            "link_study.html",
            study=study,
            series=series,
            trouble=trouble,
            until=visitor.expires_at,
            links=[link for answer in answers for link in answer.get(uid, ())],
        )
    )


def _private(page: str, status: int = 200) -> Response:
    """A page that nobody keeps: neither a cache nor the browser."""
    answer = make_response(page, status)
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["X-Robots-Tag"] = "noindex"
    return answer
