"""A rule as a document: when it is looked at, what must be met, what is then done. No I/O.

Kept as JSON in the database and as YAML in files, in one shape; see `rules_yaml`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    model_validator,
)

from extensions.routing.rules import before_storage_limits, condition_parsing
from extensions.routing.rules.complaints import Complaints, WrongRule, did_you_mean, join, wrong
from extensions.routing.rules.condition_fields import RESULT
from extensions.routing.rules.condition_kinds import is_clean
from extensions.routing.rules.conditions import Condition, Group, Leaf, leaves
from gateway.actions import Actions, Step
from gateway.errors import InvalidInput

LONGEST_NAME = 64
LONGEST_DESCRIPTION = 2000
MOST_ACTIONS = 32
MOST_SERIES = 32
MOST_DEEP = 8  # in an action's settings


class Trigger(StrEnum):
    """When a rule is looked at."""

    BEFORE_STORAGE = "before storage"
    INSTANCE_RECEIVED = "instance received"
    SERIES_STABLE = "series stable"
    STUDY_STABLE = "study stable"
    STUDY_COMPLETE = "study complete"
    ON_DEMAND = "on demand"

    @property
    def of_one_series(self) -> bool:
        """Only the series that it is about counts, or of it one instance."""
        return self in {Trigger.BEFORE_STORAGE, Trigger.INSTANCE_RECEIVED, Trigger.SERIES_STABLE}


type Priority = Literal["urgent", "normal", "off-peak"]


def _name(value: object) -> object:
    name = value.strip() if isinstance(value, str) else value
    fits = isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name.isprintable()
    if isinstance(name, str) and not (fits and "/" not in name):
        raise ValueError(f"must be 1 to {LONGEST_NAME} characters in one line, without /")
    return name


def _step(raw: object) -> Step:
    if isinstance(raw, Step):
        return raw
    if not isinstance(raw, Mapping) or len(raw) != 1:
        raise _Wrong(wrong("", "must be one action with its settings, such as `hold: {}`."))
    ((name, settings),) = raw.items()
    if not isinstance(name, str) or not isinstance(settings, Mapping | None):
        raise _Wrong(wrong(str(name), "must hold settings by their names, such as {to: archive}."))
    if not _is_storable(settings, MOST_DEEP):
        told = f"must hold texts, numbers, true, false, lists; at most {MOST_DEEP} deep."
        raise _Wrong(wrong(name, told))
    return Step(name, dict(settings or {}))


def _is_storable(value: object, deep: int) -> bool:
    """Whether PostgreSQL's JSON can hold it."""
    match value:
        case str():
            return is_clean(value, "\n\t")
        case float():
            return math.isfinite(value)
        case list():
            return deep > 0 and all(_is_storable(part, deep - 1) for part in value)
        case dict():
            named = all(isinstance(name, str) and is_clean(name) for name in value)
            return named and _is_storable(list(value.values()), deep)
        case _:
            return value is None or isinstance(value, int)


def _text(value: object) -> object:
    if isinstance(value, str) and not is_clean(value, "\n\t"):
        raise ValueError("holds control characters; remove them")
    return value


def _condition(raw: object) -> Condition:
    if isinstance(raw, Leaf | Group):
        return raw
    try:
        return condition_parsing.parse(raw)
    except WrongRule as error:
        raise _Wrong(error) from None


class _Wrong(ValueError):
    """Carries what is wrong with a part through pydantic."""

    def __init__(self, error: WrongRule) -> None:
        super().__init__()
        self.error = error


type _Condition = Annotated[
    Condition,
    PlainValidator(_condition),
    PlainSerializer(lambda condition: condition.as_json(), return_type=dict[str, Any]),
]
type _Step = Annotated[
    Step,
    PlainValidator(_step),
    PlainSerializer(lambda step: {step.action: dict(step.settings)}, return_type=dict[str, Any]),
]


class Complete(BaseModel):
    """When nothing more of a study is expected."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    series: tuple[_Condition, ...] = Field(
        default=(), max_length=MOST_SERIES, description="Each is met by a series of its own."
    )
    instances: int | None = Field(
        default=None, ge=1, le=1_000_000, description="At least so many in the study."
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.series and self.instances is None:
            raise ValueError("needs series, instances or both")
        return self


class RuleDocument(BaseModel):
    """One rule of a tenant's ordered list."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: Annotated[str, BeforeValidator(_name)] = Field(description="Unique in the list.")
    description: Annotated[str, BeforeValidator(_text)] = Field(
        default="", max_length=LONGEST_DESCRIPTION, description="For people; markup is not read."
    )
    enabled: bool = Field(default=True, description="Off: not looked at.")
    trigger: Trigger = Field(default=Trigger.STUDY_STABLE, description="When it is looked at.")
    complete: Complete | None = Field(
        default=None, description="With the trigger `study complete`: what is expected."
    )
    when: _Condition | None = Field(default=None, description="Absent: everything.")
    actions: tuple[_Step, ...] = Field(
        min_length=1, max_length=MOST_ACTIONS, description="What is done, in this order."
    )
    priority: Priority = Field(default="normal", description="Which deliveries go first.")
    fallback: bool = Field(
        default=False, description="Applies only when no other rule of its trigger has fired."
    )
    stop: bool = Field(
        default=False, description="When it fires, no rule of its trigger after it is looked at."
    )

    @model_validator(mode="after")
    def _complete_where_needed(self) -> Self:
        needed = self.trigger is Trigger.STUDY_COMPLETE
        if needed and self.complete is None:
            raise _Wrong(wrong("complete", f"is missing; '{self.trigger}' needs it."))
        if not needed and self.complete is not None:
            cure = f"leave it out, or use the trigger '{Trigger.STUDY_COMPLETE}'."
            raise _Wrong(wrong("complete", f"means nothing to '{self.trigger}'; {cure}"))
        return self

    @model_validator(mode="after")
    def _possible_before_storage(self) -> Self:
        if self.trigger is Trigger.BEFORE_STORAGE:
            try:
                before_storage_limits.check(self.actions, self.when, self.priority)
            except WrongRule as error:
                raise _Wrong(error) from None
        return self

    @cached_property
    def looks_at_results(self) -> bool:
        """Whether a condition of it is about what an extension has found out."""
        looked_at = [self.when] if self.when else []
        looked_at += self.complete.series if self.complete else ()
        return any(it.field.name.startswith(RESULT) for part in looked_at for it in leaves(part))

    def as_json(self) -> dict[str, Any]:
        """What `parse_rule` reads; what has its default is left out, but for the trigger."""
        told = self.model_dump(mode="json", exclude_defaults=True)
        told["trigger"] = str(self.trigger)
        return {name: told[name] for name in type(self).model_fields if name in told}


def parse_rule(raw: object, actions: Actions | None = None) -> RuleDocument:
    """A rule from JSON, its actions checked by `actions`; raises `WrongRule` with every place."""
    complaints = Complaints()
    rule = _read(raw, complaints)
    if rule is not None and actions is not None:
        _check_actions(rule, actions, complaints)
    complaints.end()
    assert rule is not None
    return rule


def parse_rules(raws: Sequence[object], actions: Actions | None = None) -> tuple[RuleDocument, ...]:
    """An ordered list of rules; raises `WrongRule`, also for two of one name."""
    complaints = Complaints()
    rules: list[RuleDocument] = []
    place_of: dict[str, str] = {}
    for number, raw in enumerate(raws):
        place = join("rules", number)
        try:
            rule = parse_rule(raw, actions)
        except WrongRule as error:
            complaints.adopt(place, error)
            continue
        first = place_of.setdefault(rule.name, place)
        if first != place:
            told = f"{rule.name!r} is the name of {first} too; choose another."
            complaints.add(join(place, "name"), told)
        rules.append(rule)
    complaints.end()
    return tuple(rules)


def _read(raw: object, complaints: Complaints) -> RuleDocument | None:
    if not isinstance(raw, Mapping):
        complaints.add("", "must be a rule: name, trigger, when, actions...")
        return None
    try:
        return RuleDocument.model_validate(dict(raw))
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_input=False):
            _adopt(detail, complaints)
    return None


def _adopt(detail: Mapping[str, Any], complaints: Complaints) -> None:
    # Where a union was tried, pydantic names its member too; only names of ours are places.
    place = join(*detail["loc"])
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, _Wrong):
        complaints.adopt(place, cause.error)
    elif detail["type"] == "extra_forbidden":
        model = Complete if detail["loc"][0] == "complete" else RuleDocument
        known = model.model_fields
        cure = did_you_mean(str(detail["loc"][-1]), known) or f"use one of {', '.join(known)}."
        complaints.add(place, f"is unknown; {cure}")
    else:
        told = _TOLD.get(detail["type"]) or str(detail["msg"]).removeprefix("Value error, ")
        told = told.replace("Input should", "must").format(**detail.get("ctx", {}))
        complaints.add(place, f"{told}.")


_TOLD = {
    "missing": "is missing; write it",
    "bool_parsing": "must be true or false",
    "tuple_type": "must be a list",
    "too_short": "must hold at least {min_length}",
    "too_long": "must hold at most {max_length}",
    "invalid_key": "is no name; use one of " + ", ".join(RuleDocument.model_fields),
}


def _check_actions(rule: RuleDocument, actions: Actions, complaints: Complaints) -> None:
    for number, step in enumerate(rule.actions):
        try:
            actions.parse(step)
        except InvalidInput as error:
            complaints.add(join("actions", number), error.detail)
