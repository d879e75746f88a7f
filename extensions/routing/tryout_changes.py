"""What the transforms of a draft would make of a few instances: before and after."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from typing import Any

from pydicom import Dataset, config

from extensions.routing.changes.tag_changes import TagChange, tag_changes
from extensions.routing.rules.rule import RuleDocument
from gateway.actions import Actions, Transform
from gateway.context import TaskContext
from gateway.errors import GatewayError

MOST_STUDIES = 50  # of all rules together


@dataclass
class Example:
    """One instance of a study that a rule catches; `trouble`: why it would not be sent."""

    rule: str
    study_instance_uid: str
    trouble: str = ""
    changes: list[TagChange] = field(default_factory=list)
    total: int = 0

    def as_json(self) -> dict[str, Any]:
        """For the row that keeps it."""
        return asdict(self)


def of_examples(
    context: TaskContext, draft: Sequence[RuleDocument], examples: Mapping[str, Sequence[str]]
) -> Iterator[Example]:
    """An example for each study of each rule that changes copies, as far as there are not many."""
    left = MOST_STUDIES
    for rule in changing(context.actions, draft):
        for study_uid in examples.get(rule.name, ())[:left]:
            left -= 1
            yield example_of(context, rule, study_uid)


def changing(actions: Actions, rules: Iterable[RuleDocument]) -> list[RuleDocument]:
    """The rules that change copies."""
    return [
        rule for rule in rules if any(step.action in actions.transforms for step in rule.actions)
    ]


def example_of(context: TaskContext, rule: RuleDocument, study_uid: str) -> Example:
    """What a rule makes of the first instance of a study; nothing is kept."""
    example = Example(rule.name, study_uid)
    try:
        # pydicom's warnings quote values.
        with config.disable_value_validation():
            before = _one_instance(context, study_uid)
            after = _changed(context, rule, study_uid, deepcopy(before))
            example.changes, example.total = tag_changes(before, after)
    except GatewayError as error:
        example.trouble = str(error)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        example.trouble = f"It cannot be changed like that ({type(error).__name__})."
    return example


def _one_instance(context: TaskContext, study_uid: str) -> Dataset:
    first = context.archive.instances_of(study_uid)[0]
    series_uid, uid = (first[tag]["Value"][0] for tag in ("0020000E", "00080018"))
    metadata = context.archive.metadata_of(study_uid, series_uid, uid)
    return Dataset.from_json(metadata, bulk_data_uri_handler=lambda *_: None)


def _changed(context: TaskContext, rule: RuleDocument, study_uid: str, dataset: Dataset) -> Dataset:
    for step in rule.actions:
        action, settings = context.actions.parse(step)
        if isinstance(action, Transform):
            prepare = action.preview or action.prepare
            dataset = prepare(context, settings, study_uid)(dataset)
    return dataset
