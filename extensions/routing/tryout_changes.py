"""What the transforms of a draft would make of a few instances: before and after."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from itertools import dropwhile
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
    """One instance of a study that a rule catches, as it goes to the destinations `to`.

    None of these: nothing sends the copy. `trouble`: why it would not be sent.
    """

    rule: str
    study_instance_uid: str
    to: list[str] = field(default_factory=list)
    trouble: str = ""
    changes: list[TagChange] = field(default_factory=list)
    total: int = 0

    def as_json(self) -> dict[str, Any]:
        """For the row that keeps it."""
        return asdict(self)


def of_examples(
    context: TaskContext, draft: Sequence[RuleDocument], examples: Mapping[str, Sequence[str]]
) -> Iterator[Example]:
    """Examples for each study of each rule that changes copies, as far as there are not many."""
    left = MOST_STUDIES
    for rule in changing(context.actions, draft):
        for study_uid in examples.get(rule.name, ())[:left]:
            left -= 1
            yield from examples_of(context, rule, study_uid)


def changing(actions: Actions, rules: Iterable[RuleDocument]) -> list[RuleDocument]:
    """The rules that change copies."""
    return [
        rule for rule in rules if any(step.action in actions.transforms for step in rule.actions)
    ]


def examples_of(context: TaskContext, rule: RuleDocument, study_uid: str) -> list[Example]:
    """What a rule makes of the first instance of a study, one copy after the other.

    Each line that changes the copy begins another one; nothing is kept.
    """
    found: list[Example] = []
    try:
        # pydicom's warnings quote values.
        with config.disable_value_validation():
            before = _one_instance(context, study_uid)
            for to, after in _copies(context, rule, study_uid, before):
                changes, total = tag_changes(before, after)
                found.append(Example(rule.name, study_uid, to, "", changes, total))
    except GatewayError as error:
        found.append(_refused(context, rule, study_uid, found, str(error)))
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        told = f"It cannot be changed like that ({type(error).__name__})."
        found.append(_refused(context, rule, study_uid, found, told))
    return found


def _refused(
    context: TaskContext, rule: RuleDocument, study_uid: str, found: Sequence[Example], why: str
) -> Example:
    """Whatever would go to the rest of the destinations does not."""
    transforms, sent = context.actions.transforms, {name for one in found for name in one.to}
    changed = dropwhile(lambda step: step.action not in transforms, rule.actions)
    forwards = [str(step.settings["to"]) for step in changed if step.action == "forward"]
    return Example(rule.name, study_uid, [name for name in forwards if name not in sent], why)


def _one_instance(context: TaskContext, study_uid: str) -> Dataset:
    head = context.archive.heads_of(study_uid)[0]
    return Dataset.from_json(head.metadata, bulk_data_uri_handler=lambda *_: None)


def _copies(
    context: TaskContext, rule: RuleDocument, study_uid: str, before: Dataset
) -> Iterator[tuple[list[str], Dataset]]:
    """Each copy that the rule's lines make, and where it is forwarded to."""
    copy, to, is_new = before, list[str](), False
    for step in rule.actions:
        action, settings = context.actions.parse(step)
        if isinstance(action, Transform):
            if to:
                yield to, copy
            prepare = action.preview or action.prepare
            copy, to, is_new = prepare(context, settings, study_uid)(deepcopy(copy)), [], True
        elif step.action == "forward" and is_new:
            to = [*to, step.settings["to"]]
    if is_new:
        yield to, copy
