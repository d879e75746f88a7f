"""Which instances a study has, and where their files lie on Orthanc's disk, for our own processes.

Orthanc finds an instance by an id of its own at once, and by DICOM's UIDs through a search. That id
is a hash of the UIDs: so one that is made of this StudyInstanceUID is an instance of this study.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from gateway import access
from gateway.access import Action, Resource
from gateway.errors import GatewayError, NotAuthenticated
from gateway.studies import orthanc_id
from orthanc_plugins.access import Request
from orthanc_plugins.question import is_uid
from orthanc_plugins.sdk import Orthanc, RestOutput

_TOLD = ("SOPInstanceUID", "SeriesInstanceUID", "SOPClassUID", "InstanceNumber")


class Places:
    """The REST callback that tells them."""

    def __init__(
        self,
        orthanc: Orthanc,
        current: Callable[[], Request | None],
        owner_of: Callable[[str], str | None],
    ) -> None:
        self._orthanc = orthanc
        self._current = current
        self._owner_of = owner_of

    def route(
        self,
        output: RestOutput,
        _uri: str,
        method: str,
        groups: tuple[str, ...],
        body: bytes = b"",
        **_: Any,
    ) -> None:
        """GET: `[SOP instance UID, series UID, SOP class UID, InstanceNumber]` of each instance.

        POST `{"patient_id", "instances": [[series UID, SOP instance UID]...]}`: for each
        `[name, bytes]` of its file as it was received, or null.
        """
        if method not in {"GET", "POST"}:
            output.SendMethodNotAllowed("GET,POST")
            return
        try:
            self._check(groups[0])
        except GatewayError as error:
            output.SendHttpStatus(error.http_status, json.dumps(error.as_json()))
            return
        found: list[Any]
        if method == "GET":
            found = self._held(groups[0])
        else:
            asked = json.loads(body)
            patient_id = asked["patient_id"]
            found = [self._place(patient_id, groups[0], *uids) for uids in asked["instances"]]
        output.AnswerBuffer(json.dumps(found), "application/json")

    def _check(self, study_uid: str) -> None:
        request = self._current()
        if request is None or request.principal is None:
            raise NotAuthenticated
        owner = Resource(self._owner_of(study_uid), f"Study {study_uid}.")
        access.require(request.principal, Action.LOCATE_FILES, owner)

    def _held(self, study_uid: str) -> list[list[str]]:
        asked = {
            "Level": "Instance",
            "Query": {"StudyInstanceUID": study_uid},
            "RequestedTags": _TOLD,  # all of them in the database, so no file is read
            "ResponseContent": ["RequestedTags"],
            "Expand": True,
        }
        told = json.loads(self._orthanc.RestApiPost("/tools/find", json.dumps(asked)))
        return [[each["RequestedTags"].get(tag, "") for tag in _TOLD] for each in told]

    def _place(
        self, patient_id: str, study_uid: str, series_uid: str, instance_uid: str
    ) -> tuple[str, int] | None:
        # In what is hashed `|` stands between the identifiers: a UID that held one could move them.
        if not (is_uid(series_uid) and is_uid(instance_uid)):
            return None
        instance = orthanc_id(patient_id, study_uid, series_uid, instance_uid)
        try:
            told = self._orthanc.RestApiGet(f"/instances/{instance}/attachments/dicom/info")
        except self._orthanc.OrthancException:
            return None
        file = json.loads(told)
        if file["CompressedSize"] != file["UncompressedSize"]:
            return None
        return file["Uuid"], int(file["UncompressedSize"])
