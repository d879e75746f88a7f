"""What the rules of `before storage` make of an instance, in the node while its sender waits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

from pydicom import Dataset, config, dcmread
from pydicom.tag import Tag

from extensions.routing.changes import tag_path
from extensions.routing.changes.morph import morph
from extensions.routing.changes.morph_settings import Morph
from extensions.routing.changes.original_attributes import BEFORE_STORAGE, Note, excerpt
from extensions.routing.changes.tag_path import Step
from extensions.routing.rules import facts
from extensions.routing.rules.conditions import Condition, Leaf
from extensions.routing.rules.deciding import decide
from extensions.routing.rules.dicom_json import DAMAGED, of_readable
from extensions.routing.rules.facts import Facts
from extensions.routing.rules.rule import RuleDocument, Trigger
from gateway.arriving import Sender
from gateway.errors import GatewayError

_ORIGINALS = Tag("OriginalAttributesSequence")
_LAST_OF_PIXELS = 0x7FE0FFFF


class NotChangeable(GatewayError):
    """An instance cannot be changed before it is stored, as a rule says, so it is not stored.

    Correct the object or the rule, and send it again.
    """

    http_status = 409
    dimse_status = 0xC000


class Corrections:
    """The rules of one tenant; a `gateway.arriving.Transform`."""

    def __init__(self, rules: Sequence[RuleDocument]) -> None:
        """Raises `pydantic.ValidationError` for settings that are none."""
        self._rules = [rule for rule in rules if rule.trigger is Trigger.BEFORE_STORAGE]
        self._morphs = {
            rule.name: [Morph.model_validate(dict(step.settings)) for step in rule.actions]
            for rule in self._rules
        }
        self._whole = any(
            tag_path.parse(text).steps[0].tag > _LAST_OF_PIXELS
            for several in self._morphs.values()
            for settings in several
            for change in settings.changes
            for text in (change.tag, getattr(change, "from_", change.tag))
        )
        looked_at = {step for rule in self._rules if rule.when for step in _first_steps(rule.when)}
        self._looked_at = sorted(looked_at, key=lambda step: (step.tag, step.creator))
        self._whole |= any(step.tag > _LAST_OF_PIXELS for step in looked_at)

    def __call__(self, file: bytes, sender: Sender) -> bytes | None:
        """The file to store, with a note of each change; None: no rule changes anything.

        Raises `CannotMorph` and `NotChangeable`, which quote no value.
        """
        now = datetime.now().astimezone()
        try:
            # What is received need not be flawless, and pydicom's complaints would quote it.
            with config.disable_value_validation():
                return self._changed(file, sender, now)
        except DAMAGED as error:
            raise NotChangeable(type(error).__name__) from None

    def _changed(self, file: bytes, sender: Sender, now: datetime) -> bytes | None:
        dataset, pixels = self._read(file)
        decision = decide(
            self._rules, {"": self._facts(dataset, sender)}, {}, Trigger.BEFORE_STORAGE, now
        )
        morphs = [morph for verdict in decision.fired for morph in self._morphs[verdict.rule.name]]
        before = _note_of(dataset)
        for settings in morphs:
            at = now.astimezone(UTC).strftime("%Y%m%d%H%M%S.%f+0000")
            note = Note(at, BEFORE_STORAGE, settings.reason, settings.source)
            morph(dataset, settings.changes, note)
        if _note_of(dataset) is before:
            return None
        changed = BytesIO()
        dataset.save_as(changed, enforce_file_format=True)
        return b"".join((changed.getbuffer(), pixels))

    def _read(self, file: bytes) -> tuple[Dataset, memoryview]:
        """The data set, and from the pixels on what no rule looks at, as it is in the file."""
        source = BytesIO(file)
        dataset = dcmread(source, stop_before_pixels=not self._whole)
        if not self._whole and dataset.file_meta.TransferSyntaxUID.is_deflated:
            source.seek(0)
            dataset = dcmread(source)
        return dataset, memoryview(file)[source.tell() :]

    def _facts(self, dataset: Dataset, sender: Sender) -> Facts:
        """Of what the conditions look at alone: an instance has hundreds of elements."""
        told: dict[str, Any] = {}
        for step in self._looked_at:
            root = step.find(dataset)
            if root is not None:
                told |= of_readable(excerpt(dataset, root))
        return facts.of_series(
            told,
            calling_aet=sender.calling_aet,
            called_aet=sender.called_aet,
            sender=sender.address,
        )


def _note_of(dataset: Dataset) -> object:
    """The element of all notes, not decoded; another one after each change."""
    return dataset.get_item(_ORIGINALS) if _ORIGINALS in dataset else None


def _first_steps(condition: Condition) -> Iterator[Step]:
    """The top-level tags that a condition looks at."""
    if not isinstance(condition, Leaf):
        for part in condition.parts:
            yield from _first_steps(part)
    elif not condition.field.name[0].islower():  # a fact
        yield tag_path.parse(condition.field.name).steps[0]
