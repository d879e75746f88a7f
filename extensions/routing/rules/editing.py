"""Changes to an ordered list of rules. No I/O; a rule that is not there raises `NotFound`."""

from __future__ import annotations

from collections.abc import Sequence

from extensions.routing.rules.rule import RuleDocument
from gateway.actions import Step
from gateway.errors import Conflict, NotFound

type Rules = tuple[RuleDocument, ...]


def put(rules: Sequence[RuleDocument], name: str, rule: RuleDocument) -> Rules:
    """Add a rule at the end, or, with the `name` of a present one, put it in that one's place."""
    changed = list(rules)
    if any(other.name == rule.name for other in rules if other.name != name):
        raise Conflict(f"A rule named {rule.name!r}.")
    if name:
        changed[_place(rules, name)] = rule
    else:
        changed.append(rule)
    return tuple(changed)


def switch(rules: Sequence[RuleDocument], name: str, *, on: bool) -> Rules:
    """Switch a rule on or off."""
    rule = rules[_place(rules, name)]
    return put(rules, name, rule.model_copy(update={"enabled": on}))


def move(rules: Sequence[RuleDocument], name: str, by: int) -> Rules:
    """Move a rule so many places, at most to an end."""
    changed, place = list(rules), _place(rules, name)
    rule = changed.pop(place)
    changed.insert(max(0, min(len(changed), place + by)), rule)
    return tuple(changed)


def remove(rules: Sequence[RuleDocument], name: str) -> Rules:
    """Take a rule out."""
    _place(rules, name)
    return tuple(rule for rule in rules if rule.name != name)


def named(rules: Sequence[RuleDocument], name: str) -> RuleDocument:
    """The rule of this name."""
    return rules[_place(rules, name)]


def destinations_of(rules: Sequence[RuleDocument]) -> set[str]:
    """Where rules that are on forward to."""
    return {
        str(step.settings.get("to"))
        for rule in rules
        for step in rule.actions
        if rule.enabled and step.action == "forward"
    }


def forwarding_to(rules: Sequence[RuleDocument], destination: str) -> list[str]:
    """The names of the rules that forward there."""
    return [
        rule.name
        for rule in rules
        if any(
            step.action == "forward" and step.settings.get("to") == destination
            for step in rule.actions
        )
    ]


def redirected(rules: Sequence[RuleDocument], before: str, after: str) -> Rules:
    """The destination `before` has the name `after` now."""

    def renamed(step: Step) -> Step:
        forwards = step.action == "forward" and step.settings.get("to") == before
        return Step("forward", {**step.settings, "to": after}) if forwards else step

    return tuple(
        rule.model_copy(update={"actions": tuple(renamed(step) for step in rule.actions)})
        for rule in rules
    )


def _place(rules: Sequence[RuleDocument], name: str) -> int:
    for place, rule in enumerate(rules):
        if rule.name == name:
            return place
    raise NotFound(f"Rule {name!r}.")
