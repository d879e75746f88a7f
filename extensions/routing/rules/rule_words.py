"""A rule as sentences for people. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from extensions.routing.rules.conditions import Condition, Leaf
from extensions.routing.rules.rule import RuleDocument, Trigger
from gateway.actions import Step

_WHEN: Mapping[Trigger, str] = {
    Trigger.BEFORE_STORAGE: "Before an instance is stored",
    Trigger.INSTANCE_RECEIVED: "As soon as something of a series has arrived",
    Trigger.SERIES_STABLE: "When a series is stable",
    Trigger.STUDY_STABLE: "When a study is stable",
    Trigger.STUDY_COMPLETE: "When a study is complete",
    Trigger.ON_DEMAND: "When a person asks for it",
}
_JOINED = {"all": " and ", "any": " or ", "none": " or "}
_LONGEST = 160


@dataclass(frozen=True)
class Words:
    """What a rule says: one sentence for when, one for each action, one for each peculiarity."""

    name: str
    when: str
    then: tuple[str, ...]
    besides: tuple[str, ...]


def words_of(rule: RuleDocument) -> Words:
    """The rule in words; nothing of it is left out but what is very long."""
    return Words(
        rule.name,
        _when(rule),
        tuple(action_words(step) for step in rule.actions),
        tuple(_besides(rule)),
    )


def condition_words(condition: Condition, *, inside: bool = False) -> str:
    """``Modality equals CT and (BodyPartExamined equals CHEST or ...)``."""
    if isinstance(condition, Leaf):
        return str(condition)
    parts = [condition_words(part, inside=True) for part in condition.parts]
    text = _JOINED[condition.kind].join(parts)
    if condition.kind == "none":
        return f"not ({text})"
    return f"({text})" if inside and len(parts) > 1 else text


def action_words(step: Step) -> str:
    """One action with its settings, in a line."""
    settings = step.settings
    match step.action:
        case "forward":
            text = f"forward to {settings.get('to')}"
        case "hold":
            text = f"hold for a person: {settings.get('reason')}"
        case "discard":
            text = f"do nothing more: {settings.get('reason')}"
        case "label":
            parts = [("add", settings.get("add")), ("take away", settings.get("remove"))]
            text = "label: " + "; ".join(f"{do} {_told(which)}" for do, which in parts if which)
        case "morph":
            changes = settings.get("changes")
            text = f"change tags: {'; '.join(map(_change, changes))}" if changes else "change tags"
        case "crosswalk":
            tags = settings.get("sets")
            told = ", ".join(map(str, tags.values())) if isinstance(tags, Mapping) else "tags"
            text = f"set {told} by the table {settings.get('table')}"
        case action:
            told = "; ".join(f"{name} {_told(value)}" for name, value in settings.items())
            text = f"{action}: {told}" if told else action
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def _when(rule: RuleDocument) -> str:
    text = _WHEN[rule.trigger]
    if complete := rule.complete:
        wanted = [f"a series with {condition_words(one)}" for one in complete.series]
        if complete.instances is not None:
            wanted.append(f"at least {complete.instances} instances")
        text += f" ({'; '.join(wanted)})"
    if rule.when is None:
        return f"{text}, whatever it is"
    who = "it" if rule.trigger is Trigger.BEFORE_STORAGE else "one series"
    return f"{text} and {who} has {condition_words(rule.when)}"


def _besides(rule: RuleDocument) -> Iterator[str]:
    if not rule.enabled:
        yield "It is switched off."
    if rule.priority != "normal":
        yield f"What it sends is {rule.priority}."
    if rule.fallback:
        yield "Only if no other rule of its trigger has fired."
    if rule.stop:
        yield "No rule of its trigger after it is looked at then."


def _change(change: object) -> str:
    if not isinstance(change, Mapping):
        return str(change)
    tag = change.get("tag") or f"{change.get('from')} to {change.get('to')}"
    detail = change.get("value", change.get("text", change.get("with")))
    return f"{change.get('do')} {tag}" + (f" {_told(detail)}" if detail is not None else "")


def _told(value: Any) -> str:
    match value:
        case list() | tuple():
            return ", ".join(map(_told, value))
        case Mapping():
            return ", ".join(f"{name} {_told(part)}" for name, part in value.items())
        case bool():
            return "yes" if value else "no"
    return str(value)
