"""A file that somebody tries the rules on, as transforms see it: an archive with it alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, override

from gateway.archive import Archive, Head, Reference, as_number
from gateway.errors import GatewayError

_STUDY, _SERIES, _INSTANCE = "0020000D", "0020000E", "00080018"
_SOP_CLASS, _NUMBER = "00080016", "00200013"


class NotStored(GatewayError):
    """The file is not in the archive, and this action reads more there than its tags.

    Try the draft on studies, where it can be shown.
    """

    http_status = 409


class Nameless(GatewayError):
    """The file names no study, series and instance, so nothing can be looked up for it.

    Choose a file with StudyInstanceUID, SeriesInstanceUID and SOPInstanceUID.
    """

    http_status = 400


class OneFile(Archive):
    """Its study, whatever it is called, is this one instance, given as DICOM JSON."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        self._told = dict(told)

    @override
    def series_of(self, study_uid: str) -> list[dict[str, Any]]:
        """The file stands for its series too."""
        self._require_names()
        return [self._told]

    @override
    def metadata_of(self, study_uid: str, series_uid: str, instance_uid: str) -> dict[str, Any]:
        """The tags of the file."""
        return self._told

    @override
    def heads_of(self, study_uid: str) -> list[Head]:
        """The file stands for its series too."""
        self._require_names()
        return [Head(self._value(_SERIES), 1, self._told)]

    @override
    def references_of(self, study_uid: str) -> list[Reference]:
        """The file."""
        self._require_names()
        instance, series, sop_class = map(self._value, (_INSTANCE, _SERIES, _SOP_CLASS))
        return [Reference(instance, series, sop_class, as_number(self._value(_NUMBER)))]

    @override
    def close(self) -> None:
        """There is no connection."""

    def _require_names(self) -> None:
        if not all(map(self._value, (_STUDY, _SERIES, _INSTANCE))):
            raise Nameless

    def _value(self, tag: str) -> str:
        return str(next(iter(self._told.get(tag, {}).get("Value", [])), ""))

    def __getattr__(self, name: str) -> NoReturn:
        """Whatever else an archive does goes by a connection, and there is none."""
        raise NotStored
