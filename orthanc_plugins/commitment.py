"""Storage commitment (PS3.4 annex J, Push Model): which of the named instances are safe here.

Orthanc answers an N-ACTION by itself and then runs a job, which would report to the first place
that it knows under the calling AE title, whosever that is. So here that job ends: what of the
request is the tenant's and on disk is decided at once, and reported by `extensions/commitment`,
which knows the tenant's modalities and tries again.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import batched
from typing import Any

from gateway import access, audit, correlation, jobs
from gateway.access import Action, Resource, Verdict
from gateway.db import Database
from gateway.dicom_tls.associations import Association
from gateway.errors import GatewayError, InvalidInput, NotAllowed
from gateway.identity import Principal
from orthanc_plugins.callers import Callers, modality
from orthanc_plugins.question import is_uid
from orthanc_plugins.sdk import Orthanc

log = logging.getLogger(__name__)

EXTENSION, TASK = "commitment", "report"
AT_MOST = 20_000
_BATCH = 200
_ATTEMPTS = 20  # about two hours
_LONGEST = 64  # of a UID, PS3.5 section 9.1
_TAGS = ["StudyInstanceUID", "SOPInstanceUID", "SOPClassUID"]


class Reason(IntEnum):
    """Failure Reason (0008,1197), PS3.3 section C.14.1.1; `COMMITTED` is ours."""

    COMMITTED = 0
    PROCESSING_FAILURE = 0x0110
    NO_SUCH_INSTANCE = 0x0112
    CLASS_CONFLICT = 0x0119


@dataclass(frozen=True)
class Reference:
    """An instance as the request names it."""

    sop_class: str
    instance: str

    @property
    def is_searchable(self) -> bool:
        """Whether it is one name, and no pattern or list for a search."""
        return bool(self.instance) and not set(self.instance) & set("*?\\")


@dataclass(frozen=True)
class Found:
    """An instance that the archive has; `number` is Orthanc's."""

    number: str
    study: str
    instance: str
    sop_class: str

    @classmethod
    def from_answer(cls, answer: Mapping[str, Any]) -> Found:
        """Of one answer of /tools/find with `_TAGS`."""
        return cls(answer["ID"], *(answer["RequestedTags"].get(name, "") for name in _TAGS))


def references_of(classes: Sequence[str], instances: Sequence[str]) -> list[Reference]:
    """What a request names; raises `InvalidInput` for nothing, for too much, for what is no UID."""
    if not 0 < len(instances) <= AT_MOST:
        raise InvalidInput(f"{len(instances)} instances to commit to: ask for 1 to {AT_MOST}.")
    named = [
        Reference(sop_class.strip(" \0"), instance.strip(" \0"))
        for sop_class, instance in zip(classes, instances, strict=True)
    ]
    if any(max(len(it.sop_class), len(it.instance)) > _LONGEST for it in named):
        raise InvalidInput(f"A reference has more than {_LONGEST} characters.")
    return named


def own_of(found: Iterable[Found], is_own: Callable[[Found], bool]) -> dict[str, Found]:
    """By SOPInstanceUID what is the asking tenant's; of nothing else is spoken from here on."""
    return {it.instance: it for it in found if is_own(it)}


def reason(
    reference: Reference, own: Mapping[str, Found], is_intact: Callable[[Found], bool]
) -> Reason:
    """The verdict on one reference."""
    found = own.get(reference.instance)
    if found is None:
        return Reason.NO_SUCH_INSTANCE
    if found.sop_class != reference.sop_class:
        return Reason.CLASS_CONFLICT
    return Reason.COMMITTED if is_intact(found) else Reason.PROCESSING_FAILURE


def summary(reasons: Sequence[Reason]) -> str:
    """E.g. `3 instances: 2 committed, 1 no such instance`."""
    names = Counter(it.name.lower().replace("_", " ") for it in reasons)
    parts = ", ".join(f"{count} {name}" for name, count in names.items())
    return f"{len(reasons)} instances: {parts}"


class Commitment:
    """The callbacks of storage commitment, both in a job of Orthanc's."""

    def __init__(
        self,
        orthanc: Orthanc,
        database: Database,
        callers: Callers,
        owner_of: Callable[[str], str | None],
        *,
        is_blocked: bool = False,
    ) -> None:
        self._orthanc = orthanc
        self._database = database
        self._callers = callers
        self._owner_of = owner_of
        self._is_blocked = is_blocked

    def asked(
        self,
        job: str,
        transaction: str,
        classes: list[str],
        instances: list[str],
        calling: str,
        called: str,
    ) -> None:
        """Decide on a request and have it reported; in any case, end Orthanc's own job."""
        try:
            with correlation.operation():
                self._decide(transaction, classes, instances, calling, called)
        except GatewayError as error:
            log.warning("storage commitment is not answered: %s", error.code)
        except Exception:
            log.exception("storage commitment failed")
        self._orthanc.RestApiPost(f"/jobs/{job}/cancel", "")

    def look_up(self, _sop_class: str, _instance: str, _data: object) -> None:
        """What Orthanc's own job would ask. No number: the job fails, and reports nothing.

        Must not raise: the Python plugin would end Orthanc.
        """

    def _decide(
        self,
        transaction: str,
        classes: Sequence[str],
        instances: Sequence[str],
        calling: str,
        called: str,
    ) -> None:
        who, tenant_id = self._callers.admitted(called, calling, Action.COMMIT_STORAGE)
        try:
            self._require_offered(tenant_id)
            references = references_of(classes, instances)
            if not is_uid(transaction := transaction.strip(" \0")):
                raise InvalidInput("The Transaction UID is none.")
        except (InvalidInput, NotAllowed) as error:
            self._callers.refused(who, Action.COMMIT_STORAGE, error)
            raise
        verdicts = self._reasons(references, modality(who, tenant_id))
        reasons = [verdicts[it] for it in references]
        with self._database.system_session("storage commitment") as session:
            audit.append(session, _record(who, tenant_id, transaction, reasons))
            jobs.enqueue(
                session,
                tenant_id=tenant_id,
                extension=EXTENSION,
                task=TASK,
                arguments={
                    "called": who.called,
                    "calling": who.calling,
                    "transaction": transaction,
                    "references": [
                        (it.sop_class, it.instance, int(why))
                        for it, why in zip(references, reasons, strict=True)
                    ],
                },
                max_attempts=_ATTEMPTS,
                time_limit_s=120,
            )

    def _require_offered(self, tenant_id: str) -> None:
        if self._is_blocked:
            raise NotAllowed("This installation has no storage commitment.")
        statement = (
            "SELECT FROM extension_setting WHERE tenant_id = %s AND extension = %s AND NOT enabled"
        )
        with self._database.system_session("is commitment offered") as session:
            if session.execute(statement, [tenant_id, EXTENSION]).fetchone() is not None:
                raise NotAllowed("The tenant has switched storage commitment off.")

    def _reasons(self, references: Sequence[Reference], who: Principal) -> dict[Reference, Reason]:
        """The verdicts. To name one thing a thousand times makes it be looked at once."""

        def is_own(found: Found) -> bool:
            resource = Resource(self._owner_of(found.study))
            return access.verdict(who, Action.COMMIT_STORAGE, resource) is Verdict.ALLOWED

        uids = dict.fromkeys(it.instance for it in references if it.is_searchable)
        own: dict[str, Found] = {}
        for batch in batched(uids, _BATCH, strict=False):
            own |= own_of(self._search(batch), is_own)
        return {it: reason(it, own, self._is_intact) for it in dict.fromkeys(references)}

    def _search(self, uids: Sequence[str]) -> list[Found]:
        """All instances with these SOPInstanceUIDs, whosever they are."""
        request = {
            "Level": "Instance",
            "Query": {"SOPInstanceUID": "\\".join(uids)},
            "ResponseContent": ["RequestedTags"],
            "RequestedTags": _TAGS,
        }
        answer = self._orthanc.RestApiPost("/tools/find", json.dumps(request))
        return [Found.from_answer(it) for it in json.loads(answer)]

    def _is_intact(self, found: Found) -> bool:
        """Whether its file can be read, and is what was written."""
        try:
            self._orthanc.RestApiPost(f"/instances/{found.number}/attachments/dicom/verify-md5", "")
        except self._orthanc.OrthancException:
            log.error("instance %s is damaged or gone from the disk", found.number)
            return False
        return True


def _record(
    who: Association, tenant_id: str, transaction: str, reasons: Sequence[Reason]
) -> audit.Record:
    return audit.Record(
        actor=who.calling,
        action=Action.COMMIT_STORAGE,
        resource=f"transaction {transaction}",
        verdict="allowed" if Reason.COMMITTED in reasons else "denied",
        tenant_id=tenant_id,
        origin=who.address,
        detail=summary(reasons),
    )
