"""Files of one study, as they were received, by the quickest way that the archive has.

Orthanc finds a file by an id of its own at once, and by DICOM's UIDs through a search that costs
several times as much. Its id is a hash of those UIDs: whoever names them all has named the study,
whose owner the node knows. So they go with the request, in a header.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from itertools import pairwise
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from gateway.studies import orthanc_id

if TYPE_CHECKING:
    from gateway.archive import Archive

NAMES_HEADER = "X-Argonath-Names"
PATH = r"/instances/[0-9a-f]{8}(?:-[0-9a-f]{8}){4}/file"
SMALL = 1 << 16  # bytes; the kernel holds as much of an answer that nobody reads yet
_LEVELS = 4  # patient, study, series, instance
_ID = re.compile(PATH.replace("[0-9a-f]{8}(?:-[0-9a-f]{8}){4}", "([^/]+)"))

type Place = tuple[str, str]
"""SeriesInstanceUID and SOPInstanceUID."""


def study_named(path: str, names: str) -> str | None:
    """The StudyInstanceUID of the file at `path`, if its header `names` what is really there."""
    identifiers = [unquote(name) for name in names.split("/")]
    found = _ID.fullmatch(path)
    if found is None or len(identifiers) != _LEVELS or orthanc_id(*identifiers) != found[1]:
        return None
    # What is hashed has `|` between the identifiers; a PatientID alone may hold another.
    return None if any("|" in uid for uid in identifiers[1:]) else identifiers[1]


class Files:
    """Reads over a connection of its own; for one thread.

    Small files are asked for before they are wanted, so that Orthanc finds the next one while
    somebody works on this one. A large one would keep Orthanc waiting until it is read.
    """

    def __init__(
        self,
        archive: Archive,
        url: str,
        headers: Mapping[str, str],
        study_uid: str,
        patient_id: str,
        order: Sequence[Place],
    ) -> None:
        """`order`: what will probably be wanted. `archive` is asked for what comes no quick way."""
        self._archive, self._headers = archive, headers
        self._study_uid, self._patient_id = study_uid, patient_id
        self._next = dict(pairwise(order))
        place = urlsplit(url)
        kind = HTTPSConnection if place.scheme == "https" else HTTPConnection
        self._connection = kind(place.netloc, timeout=60)
        self._root = place.path.rstrip("/")
        self._asked: Place | None = None
        self.is_quick = True

    def file_of(self, series_uid: str, instance_uid: str) -> bytes:
        """One instance; raises as `Archive.file_of` does."""
        found = self._quickly((series_uid, instance_uid)) if self.is_quick else None
        return found or self._archive.file_of(self._study_uid, series_uid, instance_uid)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _quickly(self, place: Place) -> bytes | None:
        try:
            if self._asked != place:
                self._ask(place)
            answer, self._asked = self._connection.getresponse(), None
            file = answer.read()
            # E.g. Orthanc writes this PatientID in another way than we do.
            self.is_quick = answer.status == 200
            following = self._next.get(place)
            if self.is_quick and following is not None and len(file) <= SMALL:
                self._ask(following)
        except (OSError, HTTPException):
            self._asked = None
            self._connection.close()
            return None
        return file if self.is_quick else None

    def _ask(self, place: Place) -> None:
        if self._asked is not None:
            self._connection.close()  # with the answer that nobody wants
        names = (self._patient_id, self._study_uid, *place)
        path = f"{self._root}/instances/{orthanc_id(*names)}/file"
        told = "/".join(quote(name, safe="") for name in names)
        self._connection.request("GET", path, headers={**self._headers, NAMES_HEADER: told})
        self._asked = place
