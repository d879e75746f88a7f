"""The copy of an instance that leaves: what the transforms of its delivery make of it."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

from pydicom import Dataset, config, dcmread
from pydicom.errors import InvalidDicomError

from extensions.routing.progress import Names
from gateway.actions import Change, Step, Transform
from gateway.context import TaskContext
from gateway.errors import GatewayError


class Unchangeable(GatewayError):
    """The instance cannot be changed as its rule says.

    It stays here as it was received; correct the rule, or send it without that action.
    """


class Copier:
    """Makes the copies of one delivery."""

    def __init__(self, changes: Sequence[Change]) -> None:
        self.changes = tuple(changes)

    @classmethod
    def prepare(cls, context: TaskContext, transforms: Sequence[Step], study_uid: str) -> Copier:
        """Look up what the transforms need; raises `NeedsPerson` and what they raise."""
        changes = []
        for step in transforms:
            action, settings = context.actions.parse(step)
            assert isinstance(action, Transform)  # runs put nothing else here
            changes.append(action.prepare(context, settings, study_uid))
        return cls(changes)

    def copy(self, file: bytes) -> bytes:
        """The file that leaves; without transforms it is what was received, byte for byte."""
        if not self.changes:
            return file
        try:
            # pydicom's warnings quote values; what was received need not be flawless to be sent.
            with config.disable_value_validation():
                return self._changed(file)
        except (InvalidDicomError, ValueError, TypeError, AttributeError, KeyError) as error:
            # Without its words: they may quote the object.
            raise Unchangeable(type(error).__name__) from error

    def _changed(self, file: bytes) -> bytes:
        dataset: Dataset = dcmread(BytesIO(file))
        for change in self.changes:
            dataset = change(dataset)
        changed = BytesIO()
        dataset.save_as(changed, enforce_file_format=True)
        return changed.getvalue()


def names_of(file: bytes, received: tuple[str, str, str]) -> Names:
    """The UIDs of a copy where they differ from those (study, series, instance) that it had."""
    keywords = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"]
    with config.disable_value_validation():
        dataset = dcmread(BytesIO(file), stop_before_pixels=True, specific_tags=keywords)
    now = [str(dataset.get(keyword) or "") for keyword in keywords]
    return Names(*("" if a == b else a for a, b in zip(now, received, strict=True)))
