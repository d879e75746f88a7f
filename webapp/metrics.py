"""`/metrics` for Prometheus: what the database says at this moment. System admins and keys only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from flask import Blueprint, Response
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.access import Action
from gateway.archive import Archive
from gateway.db import Session
from gateway.errors import GatewayError
from gateway.needs import Needs
from gateway.portal import Sample
from webapp import extensions, guard

pages = Blueprint("metrics", __name__)
UNKNOWN_ROUTES = "argonath_unknown_route_total"

# name, help, the labels, and a statement that gives them and `value`
QUERIES: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    (
        "argonath_studies",
        "Studies by tenant and state.",
        ("tenant", "state"),
        "SELECT tenant_id AS tenant, state, count(*) AS value FROM study GROUP BY 1, 2",
    ),
    (
        "argonath_instances",
        "Instances received, by tenant.",
        ("tenant",),
        "SELECT tenant_id AS tenant, sum(instance_count) AS value FROM study GROUP BY 1",
    ),
    (
        "argonath_outbox_waiting",
        "Events that no job was made of yet.",
        (),
        "SELECT count(*) AS value FROM outbox WHERE dispatched_at IS NULL",
    ),
    (
        "argonath_jobs",
        "Jobs by queue and state.",
        ("queue", "state"),
        "SELECT queue, state, count(*) AS value FROM job GROUP BY 1, 2",
    ),
    (
        "argonath_job_oldest_seconds",
        "Age of the oldest job that should have run.",
        (),
        (
            "SELECT coalesce(extract(epoch FROM now() - min(run_at)), 0) AS value FROM job "
            "WHERE state = 'waiting' AND run_at <= now()"
        ),
    ),
    (
        "argonath_audit_denials",
        "Refusals in the audit, by action.",
        ("action",),
        "SELECT action, count(*) AS value FROM audit WHERE verdict = 'denied' GROUP BY 1",
    ),
    (
        UNKNOWN_ROUTES,
        "Requests refused because nothing says what their route needs.",
        ("part",),
        (
            "SELECT 'portal' AS part, count(*) AS value FROM audit WHERE verdict = 'denied' "
            "AND action = 'unknown-route' AND starts_with(resource, 'page ')"
        ),
    ),
)


class _Snapshot(Collector):
    """The samples of one moment as Prometheus families."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self.samples = list(samples)

    def collect(self) -> Iterator[Metric]:
        """One family for each name."""
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for sample in self.samples:
            kind = CounterMetricFamily if sample.name.endswith("_total") else GaugeMetricFamily
            family = families.setdefault(
                sample.name, kind(sample.name, sample.help, labels=list(sample.labels))
            )
            family.add_metric(list(sample.labels.values()), sample.value)
        yield from families.values()


@pages.get("/metrics")
@Needs(Action.READ_METRICS)
def metrics() -> Response:
    """The values in Prometheus' text format."""
    with guard.context().database.system_session("metrics") as session:
        samples = list(_samples(session))
    samples += _of_the_node()
    for more in extensions.ask("portal_metrics", tenant_id=None):
        samples += more
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(samples))
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _of_the_node() -> Iterator[Sample]:
    """What the node has counted since its start; nothing while it does not answer."""
    settings = guard.context().settings
    try:
        with Archive(settings.orthanc_url, settings.internal_token, None, timeout_s=2) as archive:
            unknown = archive.raw("/argonath/ready")["unknown_routes"]
    except GatewayError:
        return
    meaning = "Requests refused because nothing says what their route needs."
    yield Sample(UNKNOWN_ROUTES, meaning, float(unknown), {"part": "node"})


def _samples(session: Session) -> Iterator[Sample]:
    for name, meaning, labels, statement in QUERIES:
        for row in session.execute(statement.encode()):
            yield Sample(
                name, meaning, float(row["value"]), {label: row[label] for label in labels}
            )
