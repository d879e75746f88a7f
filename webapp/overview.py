"""The first page after signing in: what came, what waits, and how to send."""

from __future__ import annotations

from flask import Blueprint, render_template

from gateway.access import Action
from gateway.needs import Needs
from gateway.portal import Figure
from webapp import extensions, guard, health
from webapp.study_query import StudyQuery, with_badges

pages = Blueprint("overview", __name__)


@pages.get("/")
@Needs(Action.READ_STUDY)
def show() -> str:
    """A tenant's overview; without a tenant (system admins), the gateway's."""
    tenant_id = guard.principal().tenant_id
    return _gateway() if tenant_id is None else _tenant(tenant_id)


def _tenant(tenant_id: str) -> str:
    context = guard.context()
    with context.database.tenant_session(tenant_id) as session:
        studies, total = StudyQuery(per_page=8).run(session)
        guard.record_read(session, "search", "portal: overview")
        row = session.execute(
            """
            SELECT count(*) FILTER (WHERE first_received_at > now() - interval '1 day') AS new,
                   count(*) FILTER (WHERE state <> 'stable') AS arriving,
                   coalesce(sum(instance_count), 0) AS instances
            FROM study
            """
        ).fetchone()
        titles = [
            found["ae_title"]
            for found in session.execute("SELECT ae_title FROM called_ae_title ORDER BY 1")
        ]
    assert row is not None
    figures = [
        Figure("studies received in 24 h", row["new"], url="/studies"),
        Figure("arriving now", row["arriving"], "busy" if row["arriving"] else "plain"),
        Figure("studies in all", total, url="/studies"),
        Figure("instances", row["instances"]),
    ]
    for more in extensions.ask("overview_figures", tenant_id=tenant_id):
        figures += more
    return render_template(
        "overview.html",
        figures=figures,
        studies=with_badges(tenant_id, studies),
        ae_titles=titles,
        live=True,
    )


def _gateway() -> str:
    context = guard.context()
    with context.database.system_session("overview") as session:
        tenants = session.execute(
            """
            SELECT t.tenant_id, t.title, count(s.study_instance_uid) AS studies,
                   max(s.last_received_at) AS last_received_at,
                   (SELECT array_agg(ae_title ORDER BY ae_title) FROM called_ae_title a
                    WHERE a.tenant_id = t.tenant_id) AS ae_titles
            FROM tenant t LEFT JOIN study s USING (tenant_id)
            GROUP BY t.tenant_id, t.title ORDER BY t.tenant_id
            """
        ).fetchall()
        row = session.execute(
            """
            SELECT (SELECT count(*) FROM outbox WHERE dispatched_at IS NULL) AS events,
                   count(*) FILTER (WHERE state = 'waiting') AS waiting,
                   count(*) FILTER (WHERE state = 'running') AS running,
                   count(*) FILTER (WHERE state = 'failed') AS failed FROM job
            """
        ).fetchone()
    assert row is not None
    figures = [
        Figure("jobs waiting", row["waiting"]),
        Figure("jobs running", row["running"], "busy" if row["running"] else "plain"),
        Figure("jobs failed", row["failed"], "bad" if row["failed"] else "plain"),
        Figure("events waiting", row["events"]),
    ]
    return render_template(
        "gateway.html",
        figures=figures,
        tenants=tenants,
        parts=health.state_of_parts(context),
        live=True,
    )
