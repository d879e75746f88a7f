"""The viewer's page for whoever is signed in, and the link to it on every study.

OHIF routes by path, so every address below /viewer/ that is no file is the same page. What it may
see is decided where it reads, at /dicom-web; this page holds nothing of any study.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from flask import (
    Blueprint,
    Response,
    current_app,
    make_response,
    render_template,
    send_from_directory,
)

from gateway.access import Action
from gateway.errors import GatewayError
from gateway.hookspecs import hookimpl
from gateway.needs import Needs
from gateway.portal import Link, PortalContext

FILES = Path("/opt/ohif/dist")
# OHIF needs inline styles, and pictures that it makes itself. Its workers, which decode, have a
# policy of their own: nginx sends it with their scripts.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; "
    "connect-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
OURS = Path(__file__).parent / "static"
pages = Blueprint("viewer", "extensions.viewer", template_folder="templates")


class ViewerMissing(GatewayError):
    """The viewer's files are not installed.

    Build the root file system or the image anew (docker/packages-npm.toml); any other DICOMweb
    viewer works meanwhile, see docs/viewers.md.
    """

    http_status = 503


@hookimpl
def portal_blueprint() -> Blueprint:
    """The page, at /viewer/ and everywhere below it."""
    return pages


@hookimpl
def study_links(study_uids: Sequence[str]) -> dict[str, list[Link]]:
    """Every study opens in the viewer."""
    return {
        uid: [Link("Open in viewer", f"/viewer/viewer?StudyInstanceUIDs={uid}")]
        for uid in study_uids
    }


@pages.get("/static/<path:filename>")
@Needs(Action.READ_STUDY, by_link=True)
def static(filename: str) -> Response:
    """OHIF's configuration."""
    return send_from_directory(OURS, filename)


@pages.get("/")
@pages.get("/<path:route>")
@Needs(Action.READ_STUDY, by_link=True)
def show(route: str = "") -> Response:  # noqa: ARG001 - OHIF reads it in the browser
    """OHIF, for a person who may read studies, and for whoever came by a link to one."""
    context = cast("PortalContext", current_app.extensions["argonath"])
    if context.principal().study_uid is None:  # else the visitor of a link, who has no tenant
        context.tenant()
    if not FILES.is_dir():
        raise ViewerMissing
    answer = make_response(render_template("viewer/shell.html"))
    answer.headers["Content-Security-Policy"] = POLICY
    return answer
