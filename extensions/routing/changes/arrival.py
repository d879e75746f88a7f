"""When a study arrived here, as a time that does not change when it is sent again."""

from __future__ import annotations

from datetime import UTC, datetime

from gateway import studies
from gateway.context import TaskContext

UNKNOWN = "19700101000000+0000"


def arrived_at(context: TaskContext, study_uid: str) -> str:
    """The DT (PS3.5 section 6.2) of its first instance, in UTC; `UNKNOWN` for no study of ours."""
    with context.database.tenant_session(context.tenant_id) as session:
        study = studies.find(session, study_uid)
    if study is None:
        return UNKNOWN
    first: datetime = study["first_received_at"]
    return first.astimezone(UTC).strftime("%Y%m%d%H%M%S.%f+0000")
