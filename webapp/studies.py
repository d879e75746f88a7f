"""Studies: the list with its search, and the page of one study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, render_template, request

from gateway import access, results
from gateway import studies as kernel
from gateway.access import Action
from gateway.db import Row
from gateway.errors import GatewayError, NotFound
from gateway.needs import Needs
from gateway.portal import Link
from webapp import extensions, guard, sharing
from webapp.study_query import StudyQuery, with_badges

pages = Blueprint("studies", __name__)
# Objects without pixels, for which no thumbnail is asked.
NO_IMAGE = frozenset({"SR", "KO", "PR", "SEG", "RTSTRUCT", "RTPLAN", "DOC", "REG", "AU", "ECG"})


@dataclass(frozen=True)
class Series:
    """A series as the archive tells it."""

    uid: str
    number: str
    modality: str
    description: str
    instances: int

    @property
    def has_image(self) -> bool:
        """Whether to ask the archive for a picture of it."""
        return self.modality not in NO_IMAGE


@pages.get("/studies")
@Needs(Action.READ_STUDY)
def index() -> str:
    """The list."""
    tenant_id = guard.tenant()
    query = StudyQuery.of(request.args)
    context = guard.context()
    with context.database.tenant_session(tenant_id) as session:
        found, total = query.run(session)
        guard.record_read(session, "search", "portal: list")
        modalities = [
            row["modality"]
            for row in session.execute(
                "SELECT DISTINCT unnest(modalities) AS modality FROM study ORDER BY 1"
            )
            if row["modality"]
        ]
        shared = len(sharing.received(session))
        titles = [
            row["ae_title"]
            for row in session.execute("SELECT ae_title FROM called_ae_title ORDER BY 1")
        ]
    return render_template(
        "studies.html",
        query=query,
        studies=with_badges(tenant_id, found),
        total=total,
        last_page=max(1, -(-total // query.per_page)),
        modalities=modalities,
        ae_titles=titles,
        shared=shared,
    )


@pages.get("/studies/<uid>")
@Needs(Action.READ_STUDY)
def show(uid: str) -> str:
    """One study: its series, what extensions say of it, and its audit."""
    tenant_id = guard.tenant()
    may_audit = access.permits(guard.principal(), Action.READ_AUDIT)
    with guard.context().database.tenant_session(tenant_id) as session:
        study = kernel.find(session, uid)
        if study is None:
            return _shared(uid, sharing.received(session, uid))
        shares, links = sharing.shares_of(session, tenant_id, uid)
        found = results.of_study(session, uid)
        guard.record_read(session, f"study {uid}", "portal")
        trail = session.execute(
            "SELECT * FROM audit WHERE resource IN (%(uid)s, 'study ' || %(uid)s) "
            "ORDER BY audit_id DESC LIMIT 20",
            {"uid": uid},
        ).fetchall()
    series, trouble = series_of(tenant_id, uid)
    return render_template(
        "study.html",
        study=study,
        series=series,
        trouble=trouble,
        links=_links(tenant_id, uid),
        shares=shares,
        share_links=links,
        results=found,
        lifetimes=sharing.LIFETIMES,
        sections=extensions.ask("study_section", tenant_id=tenant_id, study_uid=uid),
        trail=trail if may_audit else None,
    )


def _shared(uid: str, found: Sequence[Row]) -> str:
    """A study that another tenant shares with this one; to everybody else there is none."""
    tenant_id = guard.tenant()
    if not found:
        with guard.context().database.system_session("a study in vain") as session:
            guard.context().record(
                session, Action.READ_STUDY, f"study {uid}"[:200], tenant_id, "portal", "denied"
            )
        raise NotFound(f"Study {uid}.")
    sharing.note_view(found[0])
    series, trouble = series_of(tenant_id, uid)
    return render_template(
        "shared_study.html",
        study=found[0],
        series=series,
        trouble=trouble,
        links=_links(tenant_id, uid),
    )


def _links(tenant_id: str, uid: str) -> list[Link]:
    return [
        link
        for answer in extensions.ask("study_links", tenant_id=tenant_id, study_uids=[uid])
        for link in answer.get(uid, ())
    ]


def series_of(tenant_id: str, uid: str) -> tuple[list[Series], GatewayError | None]:
    """The series; when the archive cannot tell them, why not: the page shows the rest."""
    try:
        with guard.context().archive(tenant_id) as archive:
            found = archive.series_of(uid)
    except NotFound:
        return [], None
    except GatewayError as error:
        return [], error
    series = [
        Series(
            _text(item, "0020000E"),
            _text(item, "00200011"),
            _text(item, "00080060"),
            _text(item, "0008103E"),
            int(_text(item, "00201209") or 0),
        )
        for item in found
    ]
    return sorted(series, key=lambda one: int(one.number) if one.number.isdigit() else 0), None


def _text(item: dict[str, Any], tag: str) -> str:
    values = item.get(tag, {}).get("Value") or [""]
    return str(values[0])
