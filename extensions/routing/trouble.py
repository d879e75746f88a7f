"""What of a tenant is stuck, each cause on its own. Takes a tenant's session.

Of what a destination answered only its status is told, never its words, and nothing of what a rule
failed of or waits for, which may be an extension's words: they may name a patient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from extensions.routing.causes import STUDY_DELETED
from gateway.db import Session

type Kind = Literal["held", "away", "waiting", "failed"]

MOST_CAUSES = 3
_WORDS: Mapping[Kind, str] = {
    "held": "held for a person",
    "away": "waiting: it does not answer",
    "waiting": "waiting",
    "failed": "failed",
}
# A status of success is of an instance that verification did not find: that is its cause.
_TROUBLE = """
    WITH told AS (
        SELECT 'destination ' || coalesce(x.name, d.destination_name) AS what,
               CASE WHEN d.state = 'held' THEN 'held'
                    WHEN x.outage_since IS NOT NULL AND x.enabled THEN 'away'
                    ELSE 'waiting' END AS kind,
               CASE WHEN d.state = 'held' THEN d.held
                    WHEN NOT x.enabled THEN 'it is switched off'
                    ELSE coalesce(x.last_error, d.last_error, '') END AS cause
        FROM delivery d LEFT JOIN destination x USING (destination_id)
        WHERE d.state = 'held' AND d.updated_at < %(old)s
           OR d.state IN ('waiting', 'sending') AND d.created_at < %(old)s
              -- The time of an instance is also that of its last try: an error counts by itself.
              AND EXISTS (SELECT FROM delivery_instance i WHERE i.delivery_id = d.delivery_id
                          AND i.state IN ('planned', 'sending')
                          AND (i.updated_at < %(old)s OR d.last_error IS NOT NULL))
              AND NOT EXISTS (SELECT FROM delivery_instance i WHERE i.delivery_id = d.delivery_id
                              AND i.state IN ('delivered', 'verified')
                              AND i.updated_at >= %(old)s)
        UNION ALL
        SELECT 'destination ' || d.destination_name, 'failed',
               min(CASE WHEN i.remote_status ~ '^(0x0000|HTTP 2.*)?$' THEN i.cause
                        ELSE i.remote_status END)
        FROM delivery d JOIN delivery_instance i USING (delivery_id)
        WHERE d.failed > 0 AND d.updated_at > %(recent)s
          AND i.state = 'failed' AND i.updated_at > %(recent)s AND i.cause <> %(deleted)s
        GROUP BY d.delivery_id),
    counted AS (SELECT what, kind, cause, count(*) AS number FROM told GROUP BY 1, 2, 3)
    SELECT what, kind, sum(number)::bigint AS number,
           array_agg(cause ORDER BY number DESC) AS causes
    FROM counted GROUP BY what, kind
    UNION ALL
    SELECT 'rule ' || rule_name, CASE state WHEN 'running' THEN 'waiting' ELSE state END, count(*),
           array_agg(DISTINCT CASE state WHEN 'held' THEN cause ELSE '' END)
    FROM rule_run WHERE (state IN ('held', 'running') AND updated_at < %(old)s)
                     OR (state = 'failed' AND updated_at > %(recent)s)
    GROUP BY 1, 2
    ORDER BY 1, 2
"""


@dataclass(frozen=True)
class Trouble:
    """What is stuck, such as ``destination PACS``, in which way, how often, and why."""

    what: str
    kind: Kind
    number: int
    causes: tuple[str, ...]

    @property
    def key(self) -> str:
        """By which it is known whether somebody was told."""
        return key_of(self.what, self.kind)

    def __str__(self) -> str:
        """In words, without the patient."""
        shown = "; ".join(self.causes[:MOST_CAUSES])
        more = len(self.causes) - MOST_CAUSES
        why = f" ({shown}{f'; and {more} more causes' if more > 0 else ''})" if shown else ""
        return f"{self.what}: {self.number} {_WORDS[self.kind]}{why}"


def what_of(key: str) -> str:
    """What a trouble with this key is about."""
    return key.rpartition(": ")[0]


def key_of(what: str, kind: Kind) -> str:
    """Names a trouble, whatever its numbers and causes are."""
    return f"{what}: {kind}"


def find(session: Session, old: datetime, recent: datetime) -> list[Trouble]:
    """What waits since before `old`, or failed after `recent`."""
    given = {"old": old, "recent": recent, "deleted": STUDY_DELETED}
    return [
        Trouble(
            row["what"],
            row["kind"],
            row["number"],
            tuple(dict.fromkeys(_own_words(cause) for cause in row["causes"] if cause)),
        )
        for row in session.execute(_TROUBLE, given)
    ]


def outages(session: Session) -> tuple[set[str], set[str]]:
    """The destinations that do not answer, and those that do as far as is known; by their keys."""
    rows = session.execute("SELECT name, outage_since IS NOT NULL AS out FROM destination")
    keys: Mapping[bool, set[str]] = {True: set(), False: set()}
    for row in rows:
        keys[row["out"]].add(key_of(f"destination {row['name']}", "away"))
    return keys[True], keys[False]


def _own_words(cause: str) -> str:
    """Without what the destination said after its status, such as ``0xA700: Full.``."""
    return cause.partition(":")[0] if cause.startswith(("0x", "HTTP ")) else cause.rstrip(".")
