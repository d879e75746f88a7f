"""Polling's pages under /polling, and what they add to the portal's own."""

from __future__ import annotations

from flask import Blueprint

from extensions.polling import memory
from extensions.polling.portal import sources  # noqa: F401  its pages
from extensions.polling.portal.common import pages
from extensions.polling.sources import list_sources
from gateway.db import Session
from gateway.hookspecs import hookimpl
from gateway.portal import Figure, Sample, Tone


@hookimpl
def portal_blueprint() -> Blueprint:
    """Every page, under /polling."""
    return pages


@hookimpl
def overview_figures(session: Session) -> list[Figure]:
    """Sources that need an admin; nothing where there are none."""
    found = list_sources(session)
    wrong = sum(1 for source in found if source.enabled and source.failures)
    tone: Tone = "bad" if wrong else "plain"
    return [Figure("sources in trouble", wrong, tone, "/polling/sources")] if found else []


@hookimpl
def portal_metrics(session: Session) -> list[Sample]:
    """Sources and their studies, over all tenants."""
    found, counts = list_sources(session), memory.counts(session)
    wrong = sum(1 for source in found if source.enabled and source.failures)
    retrieved = sum(retrieved for retrieved, _ in counts.values())
    failed = sum(failed for _, failed in counts.values())
    told = "Studies of sources by what became of them."
    return [
        Sample("argonath_sources", "Sources that are polled.", len(found)),
        Sample("argonath_sources_failing", "Sources whose last run failed.", wrong),
        Sample("argonath_source_studies", told, retrieved, {"state": "retrieved"}),
        Sample("argonath_source_studies", told, failed, {"state": "failed"}),
    ]
