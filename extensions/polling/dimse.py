"""A source that speaks DICOM: C-FIND to search and C-MOVE to our own AE title (PS3.4 annex C).

What is moved comes in by C-STORE, through the same admission as from any modality.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind as Find,
)
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelMove as Move,
)

from extensions.polling import filters
from extensions.polling.errors import Interrupted, SourceUnavailable, StudyNotRetrieved
from extensions.polling.filters import Answer
from extensions.polling.remote import (
    MOST_STUDIES,
    Found,
    Retrieved,
    checked,
    first,
    number,
    seen,
)
from extensions.polling.source_settings import DimseSource
from extensions.polling.storing import Holdings
from gateway.reaching import Line, why_not

# pynetdicom looks up every dataset that it logs; we log none.
_config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False

MOST_INSTANCES = 100_000
MOST_SECONDS = 600.0  # for one search, or until a C-MOVE says the first or the next word
_SUCCESS, _CANCELLED, _UNKNOWN_DESTINATION = 0x0000, 0xFE00, 0xA801
_PENDING = frozenset({0xFF00, 0xFF01})


class DimseRemote:
    """Associations with one source, opened when they are needed."""

    def __init__(self, settings: DimseSource, should_stop: Callable[[], bool]) -> None:
        self._settings = settings
        self._should_stop = should_stop
        self._ae = AE(ae_title=settings.calling_aet)
        self._ae.connection_timeout = min(10.0, settings.timeout_s)
        self._ae.acse_timeout = self._ae.network_timeout = settings.timeout_s
        self._ae.add_requested_context(Find)
        self._ae.add_requested_context(Move)
        self._association: Association | None = None

    def close(self) -> None:
        """End the association."""
        association, self._association = self._association, None
        if association is not None and association.is_established:
            association.release()

    def search(self, wanted: Mapping[str, str]) -> Found:
        """The studies that match; raises `SourceUnavailable`."""
        told = {"StudyInstanceUID": "", "NumberOfStudyRelatedInstances": ""}
        searches = filters.alternatives(wanted)
        return seen(wanted, [self._find("STUDY", told | w, MOST_STUDIES) for w in searches])

    def retrieve(self, study: str, here: Holdings, begin: Callable[[], None]) -> Retrieved:
        """Move each series of which something is not here."""
        there = self._series(study)
        before = here.count_by_series(study)
        missing = {series for series, instances in there.items() if before[series] < instances}
        if missing:
            begin()
        for series in sorted(missing):
            self._move(study, series)
        after = here.count_by_series(study) if missing else before
        short = sum(max(0, there[series] - after[series]) for series in missing)
        if short:
            raise StudyNotRetrieved(f"{short} of {there.total()} instances did not come.")
        return Retrieved(there.total(), after.total() - before.total())

    def _series(self, study: str) -> Counter[str]:
        """How many instances there are, by series."""
        asked = {
            "StudyInstanceUID": study,
            "SeriesInstanceUID": "",
            "NumberOfSeriesRelatedInstances": "",
        }
        answers, is_whole = self._find("SERIES", asked, MOST_INSTANCES)
        if not is_whole:
            raise StudyNotRetrieved(f"It has more than {MOST_INSTANCES} series.")
        found: Counter[str] = Counter()
        for answer in answers:
            series = checked(first(answer, "SeriesInstanceUID"))
            instances = number(answer, "NumberOfSeriesRelatedInstances")
            found[series] = self._count(study, series) if instances is None else instances
        return found

    def _count(self, study: str, series: str) -> int:
        """The instances of a series, where the source does not tell their number."""
        asked = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": ""}
        answers, _ = self._find("IMAGE", asked, MOST_INSTANCES)
        return len(answers)

    def _find(self, level: str, asked: Mapping[str, str], most: int) -> tuple[list[Answer], bool]:
        association = self._associated()
        association.dimse_timeout = self._settings.timeout_s
        end = time.monotonic() + MOST_SECONDS
        found: list[Answer] = []
        for status, identifier in association.send_c_find(identifier_of(level, asked), Find):
            code = _status(status)
            if code in _PENDING:
                if identifier is not None:
                    found.append(dict(_values(identifier)))
                self._check(association, end)
                if len(found) > most:
                    self._abort(association)
                    return found[:most], False
            elif code == _SUCCESS:
                return found, True
            else:
                raise SourceUnavailable(f"It answered a C-FIND 0x{code:04X}.")
        raise SourceUnavailable("It ended the association in a C-FIND.")

    def _move(self, study: str, series: str) -> None:
        association = self._associated()
        # It may say nothing until all is sent.
        association.dimse_timeout = max(MOST_SECONDS, self._settings.timeout_s)
        asked = {"StudyInstanceUID": study, "SeriesInstanceUID": series}
        destination = self._settings.deliver_to
        for status, _ in association.send_c_move(identifier_of("SERIES", asked), destination, Move):
            code = _status(status)
            if code in _PENDING:
                self._check(association, float("inf"))
            elif code == _UNKNOWN_DESTINATION:
                raise SourceUnavailable(
                    f"It does not know where {destination} is: enter this gateway's address there."
                )
            elif code == _SUCCESS or code >> 12 == 0xB:  # 0xB000: some failed; they are counted
                return
            else:
                hint = f"does it know where {destination} is?"  # Orthanc tells no more than 0xC000
                raise StudyNotRetrieved(f"A C-MOVE was answered 0x{code:04X}; {hint}")

    def _check(self, association: Association, end: float) -> None:
        if self._should_stop():
            self._abort(association)
            raise Interrupted
        if time.monotonic() > end:
            self._abort(association)
            raise SourceUnavailable("A search of it takes too long.")

    def _abort(self, association: Association) -> None:
        self._association = None
        association.abort()

    def _associated(self) -> Association:
        if self._association is not None and self._association.is_established:
            return self._association
        settings = self._settings
        line = Line()
        try:
            association = self._ae.associate(
                settings.host,
                settings.port,
                ae_title=settings.called_aet,
                evt_handlers=[(evt.EVT_CONN_OPEN, line.opened)],
            )
        except OSError as error:
            raise SourceUnavailable(f"{settings.host} cannot be resolved.") from error
        if not association.is_established:
            raise SourceUnavailable(why_not(association, settings.address, line))
        accepted = {context.abstract_syntax for context in association.accepted_contexts}
        if not {Find, Move} <= accepted:
            association.release()
            raise SourceUnavailable("It offers no Study Root C-FIND and C-MOVE.")
        self._association = association
        return association


def identifier_of(level: str, asked: Mapping[str, str]) -> Dataset:
    """The identifier of a query (PS3.4 C.4.1.1.3): what matches, and what is to be told."""
    ds = Dataset()
    if not all(value.isascii() for value in asked.values()):
        ds.SpecificCharacterSet = "ISO_IR 192"
    ds.QueryRetrieveLevel = level
    for keyword, value in asked.items():
        setattr(ds, keyword, value)
    return ds


def _status(status: Dataset) -> int:
    if "Status" not in status:
        raise SourceUnavailable("It did not answer in time, or ended the association.")
    return int(status.Status)


def _values(identifier: Dataset) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Keyword and values of each attribute that holds text or numbers."""
    for element in identifier:
        keyword = keyword_for_tag(element.tag)
        if keyword and element.VR != "SQ" and element.value is not None:
            values = element.value if isinstance(element.value, MultiValue) else [element.value]
            yield keyword, tuple(str(value) for value in values if str(value))
