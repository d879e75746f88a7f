"""Who sent a study, as its row tells, and who else began which of its series.

So a study from one sender, as nearly all are, costs no row more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.arriving import NOBODY, Sender
from gateway.db import Session


@dataclass(frozen=True)
class Senders:
    """Who sent the first instance of a study; and of those series, by UID, that others began."""

    study: Sender = NOBODY
    others: Mapping[str, Sender] = field(default_factory=dict)

    def of(self, series_uid: str) -> Sender:
        """Who began a series."""
        return self.others.get(series_uid, self.study)


def of_study(session: Session, study_uid: str) -> Senders:
    """The senders of a study as the session may see it."""
    study, others = NOBODY, dict[str, Sender]()
    for row in session.execute(
        """
        SELECT '' AS series, calling_aet, called_aet, sender_address FROM study
        WHERE study_instance_uid = %(uid)s
        UNION ALL
        SELECT series_instance_uid, calling_aet, called_aet, sender_address FROM series_sender
        WHERE study_instance_uid = %(uid)s
        """,
        {"uid": study_uid},
    ):
        if row["series"]:
            others[row["series"]] = of_row(row)
        else:
            study = of_row(row)
    return Senders(study, others)


def of_row(row: Mapping[str, Any]) -> Sender:
    """The sender in a row of `study` or `series_sender`."""
    return Sender(row["calling_aet"], row["called_aet"], row["sender_address"])


def sent_first(session: Session, study_uid: str, sender: Sender) -> bool:
    """Whether a study's first instance came from this sender. System session."""
    row = session.execute(
        "SELECT FROM study WHERE study_instance_uid = %s "
        "AND (calling_aet, called_aet, sender_address) = (%s, %s, %s)",
        [study_uid, sender.calling_aet, sender.called_aet, sender.address],
    ).fetchone()
    return row is not None


def begins_series(session: Session, study_uid: str, series_uid: str, sender: Sender) -> None:
    """Note who sends the first instance of a series, if the study's row does not tell.

    System session. A series that was deleted may begin again, with somebody else.
    """
    session.execute(
        """
        INSERT INTO series_sender (tenant_id, study_instance_uid, series_instance_uid,
                                   calling_aet, called_aet, sender_address)
        SELECT tenant_id, study_instance_uid, %s, %s, %s, %s FROM study
        WHERE study_instance_uid = %s
        ON CONFLICT (study_instance_uid, series_instance_uid) DO UPDATE
        SET calling_aet = excluded.calling_aet, called_aet = excluded.called_aet,
            sender_address = excluded.sender_address
        """,
        [series_uid, sender.calling_aet, sender.called_aet, sender.address, study_uid],
    )
