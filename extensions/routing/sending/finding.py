"""Which instances of a series a destination has, by its own word: C-FIND or QIDO-RS."""

from __future__ import annotations

import httpx
from pydicom import Dataset
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
)

from extensions.routing.destination_settings import DicomwebSettings, DimseSettings
from extensions.routing.sending.asking import associate
from extensions.routing.sending.sender_dicomweb import client
from gateway.errors import DestinationUnavailable
from gateway.reaching import why_not

TIMEOUT_S = 60.0
PAGE = 1000
_PENDING = {0xFF00, 0xFF01}


def instances_of(
    settings: DimseSettings | DicomwebSettings, study_uid: str, series_uid: str
) -> set[str]:
    """SOP Instance UIDs; raises `DestinationUnavailable`, also when it refuses to be asked."""
    if isinstance(settings, DimseSettings):
        return _by_c_find(settings, study_uid, series_uid)
    return _by_qido(settings, study_uid, series_uid)


def _by_c_find(settings: DimseSettings, study_uid: str, series_uid: str) -> set[str]:
    """PS3.4 section C.4.1, level IMAGE."""
    model = StudyRootQueryRetrieveInformationModelFind
    association, line = associate(settings, model, TIMEOUT_S)
    if not association.is_established:
        raise DestinationUnavailable(why_not(association, settings.address, line))
    query = Dataset()
    query.QueryRetrieveLevel = "IMAGE"
    query.StudyInstanceUID = study_uid
    query.SeriesInstanceUID = series_uid
    query.SOPInstanceUID = ""
    found, status = set[str](), None
    try:
        for answer, identifier in association.send_c_find(query, model):
            status = answer.get("Status")
            if status in _PENDING and identifier is not None:
                found.add(str(identifier.get("SOPInstanceUID", "")))
    finally:
        if association.is_established:
            association.release()
    if status != 0:
        told = "nothing" if status is None else f"0x{status:04X}"
        raise DestinationUnavailable(f"{settings.address} answered {told} to a C-FIND.")
    return found


def _by_qido(settings: DicomwebSettings, study_uid: str, series_uid: str) -> set[str]:
    """PS3.18 section 10.6, in pages."""
    url = f"{settings.url}/studies/{study_uid}/series/{series_uid}/instances"
    found = set[str]()
    try:
        with client(settings, TIMEOUT_S) as http:
            while True:
                page = _page(http, url, len(found))
                if page <= found:  # the last, or it knows no offset
                    return found
                found |= page
    except httpx.RequestError as error:
        raise DestinationUnavailable(f"{settings.url}: {type(error).__name__}.") from error


def _page(http: httpx.Client, url: str, offset: int) -> set[str]:
    answer = http.get(
        url,
        params={"limit": str(PAGE), "offset": str(offset)},
        headers={"Accept": "application/dicom+json"},
    )
    if answer.status_code in {204, 404}:  # it does not have the series
        return set()
    if answer.status_code != 200:
        raise DestinationUnavailable(f"A search was answered HTTP {answer.status_code}.")
    try:
        return {str(item["00080018"]["Value"][0]) for item in answer.json()}
    except (ValueError, LookupError, TypeError) as error:
        raise DestinationUnavailable("The answer to a search cannot be read.") from error
