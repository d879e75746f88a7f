"""Which rules fire for a study, and why the others do not. No I/O.

A rule applies when one series meets its whole expression. Rules are looked at in their order, the
fallbacks after all others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

from extensions.routing.rules import facts
from extensions.routing.rules.condition_fields import parse_field
from extensions.routing.rules.condition_values import Operator
from extensions.routing.rules.conditions import Condition, Explanation, Facts, Finding, Leaf
from extensions.routing.rules.rule import RuleDocument, Trigger


class Outcome(StrEnum):
    """What became of a rule."""

    FIRED = "fired"
    NOT_MET = "conditions not met"
    INCOMPLETE = "study not complete"
    NOT_NEEDED = "another rule has fired"
    STOPPED = "stopped by an earlier rule"
    OFF = "switched off"
    OTHER_TRIGGER = "another trigger"


@dataclass(frozen=True)
class Study:
    """What rules see of a study: the facts of each series by its UID, and its own.

    Of the series in `growing` more is to come: they are not yet what `complete` expects.
    """

    series: Mapping[str, Facts]
    own: Facts
    growing: Collection[str] = ()

    def fitting(self, condition: Condition | None) -> tuple[str, ...]:
        """The series that meet the whole expression."""
        if condition is None:
            return tuple(self.series)
        test, own = condition.test, self.own
        return tuple(uid for uid, facts_of_it in self.series.items() if test(facts_of_it, own))

    def whole(self, condition: Condition) -> list[str]:
        """The series that meet it and do not grow any more."""
        return [uid for uid in self.fitting(condition) if uid not in self.growing]

    def explain(self, condition: Condition, uids: Sequence[str]) -> Explanation:
        """What it saw in the one of these series (all, if none is named) that came nearest."""
        series = [self.series[uid] for uid in uids] or list(self.series.values()) or [{}]
        return max((condition.explain(s, self.own) for s in series), key=lambda e: e.score)


@dataclass(frozen=True)
class Verdict:
    """What became of a rule, and the series that meet its whole expression."""

    rule: RuleDocument
    outcome: Outcome
    study: Study
    series: tuple[str, ...] = ()

    @property
    def fired(self) -> bool:
        """Whether its actions are to be done."""
        return self.outcome is Outcome.FIRED

    @cached_property
    def explanation(self) -> Explanation | None:
        """Each condition of `when` with what it saw: in a series that fits, else in the nearest."""
        if self.rule.when is None or self.outcome not in _LOOKED_AT:
            return None
        return self.study.explain(self.rule.when, self.series[:1])

    @cached_property
    def expected(self) -> tuple[tuple[str | None, Explanation], ...]:
        """Each thing that `complete` expects, and the series that it is (None: none)."""
        complete = self.rule.complete
        if complete is None or self.outcome not in _LOOKED_AT:
            return ()
        found = assign([self.study.whole(condition) for condition in complete.series])
        expected: list[tuple[str | None, Explanation]] = [
            (uid, self.study.explain(condition, [uid] if uid else []))
            for condition, uid in zip(complete.series, found, strict=True)
        ]
        if complete.instances is not None:
            expected.append((None, _enough(complete.instances).explain({}, self.study.own)))
        return tuple(expected)

    def as_json(self) -> dict[str, Any]:
        """Everything, nested as in the rule."""
        told: dict[str, Any] = {"rule": self.rule.name, "outcome": str(self.outcome)}
        if self.series:
            told["series"] = list(self.series)
        if self.explanation:
            told["when"] = self.explanation.as_json()
        if self.expected:
            told["complete"] = [{"series": uid, **why.as_json()} for uid, why in self.expected]
        return told

    def reason(self) -> list[dict[str, Any]]:
        """Each line of its conditions, for the ledger: `condition`, `seen`, `met`."""
        told = [self.explanation] if self.explanation else []
        lines = [
            line for why in (*told, *(why for _, why in self.expected)) for line in _lines(why)
        ]
        return [
            {"condition": within + str(f.condition), "seen": list(f.seen), "met": f.met}
            for within, f in lines
        ]


@dataclass(frozen=True)
class Decision:
    """The verdict on each rule, in the rules' order."""

    trigger: Trigger
    verdicts: tuple[Verdict, ...]

    @property
    def fired(self) -> tuple[Verdict, ...]:
        """Those whose actions are to be done, in this order."""
        return tuple(verdict for verdict in self.verdicts if verdict.fired)


def decide(
    rules: Sequence[RuleDocument],
    facts_of_series: Mapping[str, Facts],
    study_facts: Facts,
    trigger: Trigger,
    now: datetime,
    growing: Collection[str] = (),
) -> Decision:
    """Look at every rule; `now` is what the hospital's clock shows.

    Series that are `growing` do not make a study complete. For a trigger of one series
    (`Trigger.of_one_series`) only that series may be given.
    """
    if trigger.of_one_series and len(facts_of_series) != 1:
        raise ValueError(f"'{trigger}' is about one series, not {len(facts_of_series)}.")
    study = Study(facts_of_series, {**study_facts, **facts.at(now)}, growing)
    verdicts: dict[int, Verdict] = {}
    any_fired = stopped = False
    for number, rule in sorted(enumerate(rules), key=lambda entry: entry[1].fallback):
        verdict = _look_at(rule, study, trigger, any_fired=any_fired, stopped=stopped)
        any_fired |= verdict.fired
        stopped |= verdict.fired and rule.stop
        verdicts[number] = verdict
    return Decision(trigger, tuple(verdicts[number] for number in range(len(rules))))


def assign(fitting: Sequence[Sequence[str]]) -> list[str | None]:
    """A series of its own for as many as possible (augmenting paths); None for the others."""
    holder: dict[str, int] = {}

    def place(number: int, tried: set[str]) -> bool:
        for uid in fitting[number]:
            if uid not in tried:
                tried.add(uid)
                if uid not in holder or place(holder[uid], tried):
                    holder[uid] = number
                    return True
        return False

    for number in range(len(fitting)):
        place(number, set())
    series_of = {number: uid for uid, number in holder.items()}
    return [series_of.get(number) for number in range(len(fitting))]


_LOOKED_AT = frozenset({Outcome.FIRED, Outcome.NOT_MET, Outcome.INCOMPLETE})


def _look_at(
    rule: RuleDocument, study: Study, trigger: Trigger, *, any_fired: bool, stopped: bool
) -> Verdict:
    if rule.trigger is not trigger:
        return Verdict(rule, Outcome.OTHER_TRIGGER, study)
    if not rule.enabled:
        return Verdict(rule, Outcome.OFF, study)
    if rule.fallback and any_fired:
        return Verdict(rule, Outcome.NOT_NEEDED, study)
    if stopped:
        return Verdict(rule, Outcome.STOPPED, study)
    series = study.fitting(rule.when)
    if not series:
        return Verdict(rule, Outcome.NOT_MET, study)
    outcome = Outcome.FIRED if _is_complete(rule, study) else Outcome.INCOMPLETE
    return Verdict(rule, outcome, study, series)


def _is_complete(rule: RuleDocument, study: Study) -> bool:
    complete = rule.complete
    if complete is None:
        return True
    if complete.instances is not None and not _enough(complete.instances).test({}, study.own):
        return False
    return None not in assign([study.whole(condition) for condition in complete.series])


def _enough(instances: int) -> Leaf:
    return Leaf(parse_field("instance_count"), Operator.AT_LEAST, instances)


def _lines(why: Explanation, within: str = "") -> Iterator[tuple[str, Finding]]:
    if isinstance(why, Finding):
        yield within, why
        return
    for part in why.parts:
        yield from _lines(part, within if why.kind == "all" else f"{within}{why.kind} of: ")
