"""A file that somebody tries the rules on, as transforms see it: an archive with it alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, override

from gateway.archive import Archive, Head
from gateway.errors import GatewayError


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
        return self.instances_of(study_uid)

    @override
    def instances_of(self, study_uid: str) -> list[dict[str, Any]]:
        """The file."""
        if not all(self._told.get(tag, {}).get("Value") for tag in _NAMES):
            raise Nameless
        return [self._told]

    @override
    def metadata_of(self, study_uid: str, series_uid: str, instance_uid: str) -> dict[str, Any]:
        """The tags of the file."""
        return self._told

    @override
    def heads_of(self, study_uid: str) -> list[Head]:
        """The file stands for the whole."""
        (told,) = self.instances_of(study_uid)
        return [Head(told["0020000E"]["Value"][0], 1, told)]

    @override
    def close(self) -> None:
        """There is no connection."""

    def __getattr__(self, name: str) -> NoReturn:
        """Whatever else an archive does goes by a connection, and there is none."""
        raise NotStored


_NAMES = ("0020000D", "0020000E", "00080018")
