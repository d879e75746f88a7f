"""Which rules catch what of a study, over all triggers. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from extensions.routing.rules import facts
from extensions.routing.rules.deciding import Decision, Outcome, Verdict, decide
from extensions.routing.rules.facts import Facts
from extensions.routing.rules.rule import RuleDocument, Trigger

# A stable study makes up for what was not noticed while it arrived.
WHEN_STABLE = (
    Trigger.INSTANCE_RECEIVED,
    Trigger.SERIES_STABLE,
    Trigger.STUDY_STABLE,
    Trigger.STUDY_COMPLETE,
)
WHILE_ARRIVING = (Trigger.INSTANCE_RECEIVED, Trigger.SERIES_STABLE, Trigger.STUDY_COMPLETE)


@dataclass(frozen=True)
class Catch:
    """A rule that applies to the whole study, or to one series of it."""

    verdict: Verdict
    series_instance_uid: str
    instances: int


def caught(
    rules: Sequence[RuleDocument],
    series: Mapping[str, Facts],
    *,
    triggers: Iterable[Trigger],
    now: datetime,
    labels: Collection[str] = (),
    results: Mapping[str, object] | None = None,
    growing: Collection[str] | None = None,
) -> Iterator[Catch]:
    """What applies, by trigger and then in the rules' order.

    `growing`: the study still arrives, and these of its series are not stable. None: it is stable.
    """
    counts = {uid: _count(of_it) for uid, of_it in series.items()}
    for trigger in triggers:
        if all(rule.trigger is not trigger for rule in rules):
            continue
        units: dict[str, Mapping[str, Facts]] = {"": series}
        if trigger.of_one_series:
            units = {uid: {uid: of_it} for uid, of_it in series.items()}
        for uid, unit in units.items():
            if trigger is Trigger.SERIES_STABLE and uid in (growing or ()):
                continue
            instances = sum(counts[each] for each in unit)
            about = facts.of_study(
                list(unit.values()), instance_count=instances, labels=labels, results=results
            )
            decision = decide(rules, unit, about, trigger, now, growing=growing or ())
            early = growing is not None and trigger is Trigger.STUDY_COMPLETE
            for verdict in _certain(decision) if early else decision.fired:
                yield Catch(verdict, uid, instances)


def _certain(decision: Decision) -> Iterator[Verdict]:
    """What has fired and what nothing can overrule that is still to come.

    That is no fallback, and no rule after one that would stop it if it fired later.
    """
    for verdict in decision.verdicts:
        if verdict.rule.fallback:
            continue
        if verdict.fired:
            yield verdict
        elif verdict.rule.stop and verdict.outcome in {Outcome.NOT_MET, Outcome.INCOMPLETE}:
            return


def _count(of_it: Facts) -> int:
    return int((of_it.get("NumberOfSeriesRelatedInstances") or [0])[0])
