"""DELETE of a study over DICOMweb, which the DICOMweb plugin itself does not offer.

nginx sends ``DELETE /dicom-web/studies/{uid}`` to a path of ours: a Python route on the plugin's
own path would take its GET too. Whether the role may delete was decided by the request filter;
whose the study is, and whether something is still to be done with it, gets decided here. That its
row goes, and its listeners hear of it, follows from Orthanc's own event.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from gateway import access, studies
from gateway.access import Action, Resource
from gateway.audit import Record, Verdict, append
from gateway.db import Database, Session
from gateway.errors import BrokenExtension, GatewayError, NotAuthenticated, NotFound
from gateway.studies import StillNeeded
from orthanc_plugins.access import Request
from orthanc_plugins.sdk import Orthanc, RestOutput

log = logging.getLogger(__name__)

type Ask = Callable[[Session, str], Iterable[Sequence[str]]]


class NotDeleted(GatewayError):
    """The archive could not delete the study.

    Some of it may be gone; delete it again, and look into the log of the archive if that fails too.
    """

    http_status = 500


class Deletion:
    """The REST callback that deletes one study."""

    def __init__(
        self,
        orthanc: Orthanc,
        database: Database,
        current: Callable[[], Request | None],
        ask: Ask,
    ) -> None:
        """`ask` is the hook `study_unfinished`, with an answer of each extension."""
        self._orthanc = orthanc
        self._database = database
        self._current = current
        self._ask = ask

    def route(
        self, output: RestOutput, _uri: str, method: str, groups: tuple[str, ...], **_: Any
    ) -> None:
        """204, or an error as JSON."""
        if method != "DELETE":
            output.SendMethodNotAllowed("DELETE")
            return
        try:
            self._delete(groups[0])
        except GatewayError as error:
            output.SendHttpStatus(error.http_status, json.dumps(error.as_json()))
        else:
            output.SendHttpStatus(204, b"")

    def _delete(self, uid: str) -> None:
        request = self._current()
        if request is None or request.principal is None:
            raise NotAuthenticated
        with self._database.system_session("owner of a study to delete") as session:
            row = studies.find(session, uid)
        owner = None if row is None else str(row["tenant_id"])
        try:
            access.require(request.principal, Action.DELETE_STUDY, Resource(owner, f"Study {uid}."))
            held = self._held(uid)
            if not held:
                raise NotFound(f"Study {uid}.")
            let_go(self._database, owner, uid, self._ask)
        except GatewayError as refusal:
            self._record(request, uid, request.principal.tenant_id, "denied", refusal.code)
            raise
        # First the record: nothing may be gone of which nobody knows who deleted it.
        self._record(request, uid, owner, "allowed")
        try:
            for study in held:
                self._orthanc.RestApiDelete(f"/studies/{study}")
        except self._orthanc.OrthancException as error:
            log.exception("study %s could not be deleted", uid)
            self._record(request, uid, owner, "failed")
            raise NotDeleted(f"Study {uid}.") from error

    def _held(self, uid: str) -> list[str]:
        """Orthanc ids of what is stored under the UID: several, where its PatientID differs."""
        query = {"Level": "Study", "Query": {"StudyInstanceUID": uid}, "CaseSensitive": True}
        held: list[str] = json.loads(self._orthanc.RestApiPost("/tools/find", json.dumps(query)))
        return held

    def _record(
        self, request: Request, uid: str, tenant_id: str | None, verdict: Verdict, detail: str = ""
    ) -> None:
        assert request.principal is not None
        record = Record(
            request.principal.name,
            Action.DELETE_STUDY,
            f"study {uid}",
            verdict,
            tenant_id,
            request.address,
            detail,
        )
        with self._database.system_session("audit a deletion") as session:
            append(session, record)


def let_go(database: Database, owner: str | None, uid: str, ask: Ask) -> None:
    """Permit the deletion of a study, now; raises `StillNeeded`, `BrokenExtension`."""
    with database.system_session("is a study needed") as session:
        studies.let_go(session, uid)
    if owner is None:
        return
    # After the jobs: whatever one of them has left behind is seen.
    with database.tenant_session(owner) as session:
        try:
            needed = [what for answer in ask(session, uid) for what in answer]
        except GatewayError:
            raise
        except Exception as error:
            log.exception("what is to be done with study %s is not known", uid)
            raise BrokenExtension(f"study_unfinished: {type(error).__name__}.") from error
    if needed:
        raise StillNeeded(f"Not finished: {'; '.join(needed)}.")
