"""When a rule applies: an expression over facts, and what each part of it saw. No I/O.

As JSON: ``{"all": [...]}``, ``{"any": [...]}`` and ``{"none": [...]}`` nested, around leaves
``{"field": NAME, "operator": OPERATOR, "value": VALUE}``; see `condition_fields` for the names,
`condition_values` for what fits which, `condition_parsing` for how it is read and checked. A field
with several values meets a leaf if one of them does; an absent or empty one meets only *absent*.
There are no regular expressions: one that somebody writes badly can take minutes, and Python
cannot stop it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from extensions.routing.rules.condition_fields import Field
from extensions.routing.rules.condition_values import Operator, Value, check_of

type Facts = Mapping[str, Sequence[Any]]
"""Values by name; see `facts.py`."""

type Test = Callable[[Facts, Facts], bool]
"""Whether a series, by its own facts and its study's, meets a condition."""

type Kind = Literal["all", "any", "none"]

MOST_SHOWN = 16
LONGEST_SHOWN = 128
NOT_KEPT = "(a long or binary value)"


@dataclass(frozen=True)
class Leaf:
    """One line, e.g. ``Modality equals CT``."""

    field: Field
    operator: Operator
    value: Value = None

    def __str__(self) -> str:
        return " ".join(part for part in (self.field.name, self.operator, self._shown) if part)

    @property
    def _shown(self) -> str:
        if isinstance(self.value, tuple):
            between = " and " if self.operator is Operator.BETWEEN else ", "
            return between.join(map(str, self.value))
        return "" if self.value is None else str(self.value)

    def as_json(self) -> dict[str, Any]:
        """The shape that `condition_parsing` reads."""
        value = list(self.value) if isinstance(self.value, tuple) else self.value
        told = {"field": self.field.name, "operator": str(self.operator)}
        return told if value is None else {**told, "value": value}

    @cached_property
    def values(self) -> Callable[[Facts, Facts], Sequence[Any]]:
        """What it looks at: of the series, else of the study. Compiled once."""
        return _reader(self.field.path)

    @cached_property
    def test(self) -> Test:
        """Compiled once."""
        values, check = self.values, check_of(self.field.kind, self.operator, self.value)
        if self.operator is Operator.EXISTS:
            return lambda series, study: bool(values(series, study))
        if self.operator is Operator.ABSENT:
            return lambda series, study: not values(series, study)

        def test(series: Facts, study: Facts) -> bool:
            for value in values(series, study):  # noqa: SIM110  a generator costs twice the time
                if check(value):
                    return True
            return False

        return test

    def explain(self, series: Facts, study: Facts) -> Finding:
        """What it saw, and whether it was met."""
        return Finding(self, self.values(series, study), self.test(series, study))


@dataclass(frozen=True)
class Group:
    """All, any or none of several."""

    kind: Kind
    parts: tuple[Condition, ...]

    def __str__(self) -> str:
        return f"{self.kind} of ({'; '.join(map(str, self.parts))})"

    def as_json(self) -> dict[str, Any]:
        """The shape that `condition_parsing` reads."""
        return {self.kind: [part.as_json() for part in self.parts]}

    @cached_property
    def test(self) -> Test:
        """Compiled once."""
        tests, decisive = [part.test for part in self.parts], self.kind != "all"
        met = self.kind == "any"

        def test(series: Facts, study: Facts) -> bool:
            for part in tests:
                if part(series, study) is decisive:
                    return met
            return not met

        return test

    def explain(self, series: Facts, study: Facts) -> GroupFinding:
        """Each part, also those that no longer matter."""
        parts = tuple([part.explain(series, study) for part in self.parts])
        met = {part.met for part in parts}
        every, some = met == {True}, True in met
        return GroupFinding(
            self.kind, parts, {"all": every, "any": some, "none": not some}[self.kind]
        )


type Condition = Leaf | Group


def leaves(condition: Condition) -> Iterator[Leaf]:
    """Every line of it."""
    if isinstance(condition, Leaf):
        yield condition
        return
    for part in condition.parts:
        yield from leaves(part)


@dataclass(frozen=True)
class Finding:
    """A leaf, the values that it looked at, and whether it was met."""

    condition: Leaf
    values: Sequence[Any]
    met: bool

    @property
    def seen(self) -> tuple[str, ...]:
        """The values for people, at most the first few; none: absent or empty."""
        shown = [_shown(value) for value in self.values[:MOST_SHOWN]]
        left = len(self.values) - len(shown)
        return (*shown, f"(and {left} more)") if left else tuple(shown)

    @property
    def score(self) -> float:
        """How near it came, from 0 to 1."""
        return float(self.met)

    def as_json(self) -> dict[str, Any]:
        """The leaf with `seen` and `met`."""
        return {**self.condition.as_json(), "seen": list(self.seen), "met": self.met}


@dataclass(frozen=True)
class GroupFinding:
    """A group, what each part saw, and whether it was met."""

    kind: Kind
    parts: tuple[Explanation, ...]
    met: bool

    @property
    def score(self) -> float:
        """How near it came, from 0 to 1."""
        scores = [part.score for part in self.parts]
        match self.kind:
            case "all":
                return sum(scores) / len(scores)
            case "any":
                return max(scores)
            case "none":
                return sum(not part.met for part in self.parts) / len(scores)

    def as_json(self) -> dict[str, Any]:
        """The group with `met`, nested."""
        return {self.kind: [part.as_json() for part in self.parts], "met": self.met}


type Explanation = Finding | GroupFinding


def _reader(path: tuple[str, ...]) -> Callable[[Facts, Facts], Sequence[Any]]:
    """The values at a path: of the series, else of the study; of every item of a sequence."""
    first, rest = path[0], path[1:]

    def top(series: Facts, study: Facts) -> Sequence[Any]:
        return series.get(first) or study.get(first, ())

    def below(series: Facts, study: Facts) -> Sequence[Any]:
        values = top(series, study)
        for name in rest:
            values = [v for item in values if isinstance(item, Mapping) for v in item.get(name, ())]
        return values

    return below if rest else top


def _shown(value: object) -> str:
    if value is None:
        return NOT_KEPT
    if isinstance(value, Mapping):
        return "(an item)"
    text = str(value)
    left = len(text) - LONGEST_SHOWN
    return f"{text[:LONGEST_SHOWN]}… (and {left} characters)" if left > 0 else text
