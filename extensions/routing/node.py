"""Routing in the node: rules before an instance is stored, and what keeps a study from deletion.

Whatever such a rule needs is imported only where a tenant has one: else Orthanc stays small.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from extensions.routing import unfinished
from gateway.arriving import Sender, Transform
from gateway.db import Session
from gateway.errors import GatewayError
from gateway.hookspecs import hookimpl

log = logging.getLogger(__name__)

# Of each tenant's live rules those before storage, where it has one that is on.
_LIVE = """
SELECT tenant_id, version, rules FROM (
    SELECT tenant_id, version, (
        SELECT jsonb_agg(rule) FROM jsonb_array_elements(rules) AS rule
        WHERE rule ->> 'trigger' = 'before storage'
          AND coalesce((rule ->> 'enabled')::boolean, true)) AS rules
    FROM tenant JOIN LATERAL (
        SELECT version, rules FROM rulebook b WHERE b.tenant_id = tenant.tenant_id
        ORDER BY version DESC LIMIT 1) AS live ON true) AS early
WHERE rules IS NOT NULL
"""


class RulesUnreadable(GatewayError):
    """The tenant's rules before storage cannot be read, so nothing is stored.

    Open them in the portal, correct what is wrong and save them.
    """

    http_status = 503
    dimse_status = 0xA700
    permanent = False


@hookimpl
def study_unfinished(session: Session, study_uid: str) -> list[str]:
    """Rules and deliveries that are not done with the study, nor cancelled or discarded."""
    return unfinished.with_study(session, study_uid)


@hookimpl
def transform_instance(session: Session) -> Mapping[str, Transform]:
    """What the rules of each tenant change before storage."""
    rows = session.execute(_LIVE).fetchall()
    return {row["tenant_id"]: _transform(row["tenant_id"], row["rules"]) for row in rows}


def _transform(tenant_id: str, rules: list[object]) -> Transform:
    from pydicom import config

    from extensions.routing.rules.before_storage import Corrections
    from extensions.routing.rules.rule import parse_rules

    # For the whole process: what switches it off and on again is not made for several threads.
    config.settings.reading_validation_mode = config.IGNORE
    config.settings.writing_validation_mode = config.IGNORE
    try:
        return Corrections(parse_rules(rules))
    except (GatewayError, ValueError) as error:
        log.error("rules before storage of %s: %s", tenant_id, type(error).__name__)
        return _unreadable


def _unreadable(_file: bytes, _sender: Sender) -> bytes | None:
    raise RulesUnreadable
