"""The way of a study through the rules, for people: rule, actions, deliveries. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from extensions.routing.ledger import Delivery
from extensions.routing.rules.rule_words import action_words
from extensions.routing.runs import Run

MOST_REASONS = 8

type State = Literal["done", "under way", "waiting", "held", "failed", "discarded", "not done", ""]


@dataclass(frozen=True)
class Stage:
    """One action; a transform has no state of its own: it is done to each copy that is sent."""

    text: str
    state: State
    deliveries: tuple[Delivery, ...] = ()


@dataclass(frozen=True)
class Branch:
    """One rule with the study: why it fired, and its actions in order."""

    run: Run
    stages: tuple[Stage, ...]

    @property
    def state(self) -> str:
        """As of the run; a rule that is done has done nothing yet that is held or has failed."""
        sent = {one.state for stage in self.stages for one in stage.deliveries}
        trouble = next((state for state in ("held", "failed") if state in sent), "")
        return trouble if trouble and self.run.state == "done" else self.run.state

    @property
    def reasons(self) -> Sequence[Mapping[str, Any]]:
        """The first of its conditions, each with what it saw."""
        return self.run.reason[:MOST_REASONS]


def branches_of(
    runs: Sequence[Run], deliveries: Sequence[Delivery], transforms: Collection[str]
) -> tuple[list[Branch], list[Delivery]]:
    """A branch for each run, and the deliveries that belong to none of them."""
    branches = [_branch(run, deliveries, transforms) for run in runs]
    shown = {d.delivery_id for b in branches for stage in b.stages for d in stage.deliveries}
    return branches, [each for each in deliveries if each.delivery_id not in shown]


def _branch(run: Run, deliveries: Sequence[Delivery], transforms: Collection[str]) -> Branch:
    stages, before = [], list[dict[str, Any]]()
    for number, step in enumerate(run.steps):
        if step.action in transforms:
            before.append(step.as_json())
            stages.append(Stage(action_words(step), ""))
            continue
        sent = tuple(
            each
            for each in deliveries
            if step.action == "forward"
            and each.destination_name == step.settings.get("to")
            and [done.as_json() for done in each.transforms] == before
        )
        stages.append(Stage(action_words(step), _state(run, number), sent))
    return Branch(run, tuple(stages))


def _state(run: Run, number: int) -> State:
    if run.state == "done" or number < run.next_step:
        return "done"
    if number > run.next_step:
        return "not done" if run.state in {"failed", "discarded"} else "waiting"
    states: Mapping[str, State] = {"held": "held", "failed": "failed", "discarded": "discarded"}
    return states.get(run.state, "under way")
