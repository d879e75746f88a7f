"""What a rule cannot say that is looked at before an instance is stored. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from extensions.routing.rules.complaints import Complaints, join, wrong
from extensions.routing.rules.condition_fields import RESULT
from extensions.routing.rules.conditions import Condition, Leaf
from gateway.actions import Step

ACTIONS = ("morph",)
MOST_RULES = 32
MOST_CHANGES = 128
_LATER = frozenset(
    {
        "instance_count",
        "series_count",
        "labels",
        "ModalitiesInStudy",
        "NumberOfSeriesRelatedInstances",
    }
)
_CURE = "leave it out, or use another trigger."


def check_together(rules: Sequence[Sequence[Step]]) -> None:
    """Raise `WrongRule` if a tenant's rules before storage, each its actions, are too many.

    Every sender of the gateway waits for them.
    """
    changes = sum(len(step.settings.get("changes", ())) for actions in rules for step in actions)
    for count, most, what in (
        (len(rules), MOST_RULES, "rules"),
        (changes, MOST_CHANGES, "changes of tags"),
    ):
        if count > most:
            raise wrong("rules", f"{count} {what} before storage; at most {most} are possible.")


def check(actions: Sequence[Step], when: Condition | None, priority: str) -> None:
    """Raise `WrongRule` with each place that says what only a study that is here can do or tell."""
    found = Complaints()
    for number, step in enumerate(actions):
        if step.action not in ACTIONS:
            told = f"{step.action!r} cannot be done before storage, only {ACTIONS[0]}; {_CURE}"
            found.add(join("actions", number), told)
    for place, leaf in _leaves(when, "when") if when else ():
        name = leaf.field.name
        if name in _LATER or name.startswith(RESULT):
            found.add(join(place, "field"), f"{name} is not known before storage; {_CURE}")
    if priority != "normal":
        found.add("priority", f"means nothing before storage, where nothing is sent; {_CURE}")
    found.end()


def _leaves(condition: Condition, place: str) -> Iterator[tuple[str, Leaf]]:
    if isinstance(condition, Leaf):
        yield place, condition
        return
    for number, part in enumerate(condition.parts):
        yield from _leaves(part, join(place, condition.kind, number))
