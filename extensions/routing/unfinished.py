"""What is still to be done with a study, which must not be deleted before. For the node too."""

from __future__ import annotations

from extensions.routing.causes import STUDY_DELETED
from gateway.db import Row, Session

# Rules first: one that is done has planned its deliveries before. A destination that was removed
# gets nothing any more, so nothing is kept for it.
_RULES = """
    SELECT DISTINCT rule_name AS name, state FROM rule_run
    WHERE study_instance_uid = %(study)s AND state IN ('running', 'held', 'failed')
    ORDER BY 1, 2
"""
_DELIVERIES = """
    SELECT delivery_id, destination_name AS name, state FROM delivery d
    WHERE study_instance_uid = %(study)s AND destination_id IS NOT NULL
      AND (planned + sending > 0 OR failed > 0 AND EXISTS (
           SELECT FROM delivery_instance i WHERE i.delivery_id = d.delivery_id
                 AND i.state = 'failed' AND i.cause <> %(deleted)s))
    ORDER BY delivery_id
"""
_TODO = {
    "running": "wait until it is done, or discard it",
    "waiting": "wait until it has arrived, or cancel it",
    "sending": "wait until it has arrived, or cancel it",
}


def with_study(session: Session, study_uid: str) -> list[str]:
    """Each rule and delivery of the study with its state and what to do; a tenant's session.

    What somebody cancelled or discarded is finished.
    """
    given = {"study": study_uid, "deleted": STUDY_DELETED}
    rules = session.execute(_RULES, given).fetchall()
    deliveries = session.execute(_DELIVERIES, given).fetchall()
    return [
        *(_told(f"rule {row['name']!r}", row, "release or discard it") for row in rules),
        *(
            _told(f"delivery {row['delivery_id']} to {row['name']!r}", row, "release or cancel it")
            for row in deliveries
        ),
    ]


def _told(what: str, row: Row, decide: str) -> str:
    return f"{what}: {row['state']}; {_TODO.get(row['state'], decide)}"
