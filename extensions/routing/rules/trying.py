"""What a draft of the rules would do with studies of before, beside what the live ones would.

Pure: nothing is sent, held or kept; see `tryouts.py` for where the studies come from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from extensions.routing.rules.catching import WHEN_STABLE, Catch, caught
from extensions.routing.rules.facts import Facts
from extensions.routing.rules.rule import RuleDocument, Trigger

MOST_SHOWN = 200
MOST_EXAMPLES = 5  # studies of a rule
TRIGGERS = (Trigger.BEFORE_STORAGE, *WHEN_STABLE, Trigger.ON_DEMAND)


@dataclass(frozen=True)
class Difference:
    """A study with which the draft would do something else than the live rules."""

    study_instance_uid: str
    added: tuple[str, ...]
    removed: tuple[str, ...]


@dataclass
class Report:
    """Counts of studies; `different` is cut after `MOST_SHOWN`, `differing` counts all.

    `changes` is what the transforms of a rule do to an example (tryout_changes.py).
    """

    studies: int = 0
    series: int = 0
    by_rule: Counter[str] = field(default_factory=Counter)
    live_by_rule: Counter[str] = field(default_factory=Counter)
    by_deed: Counter[str] = field(default_factory=Counter)
    live_by_deed: Counter[str] = field(default_factory=Counter)
    differing: int = 0
    different: list[Difference] = field(default_factory=list)
    examples: dict[str, list[str]] = field(default_factory=dict)
    changes: list[dict[str, Any]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """For the row that keeps it."""
        return {**vars(self), "different": [asdict(each) for each in self.different]}


def look_at(
    report: Report,
    study_uid: str,
    series: Mapping[str, Facts],
    *,
    draft: Sequence[RuleDocument],
    live: Sequence[RuleDocument],
    transforms: Collection[str],
    now: datetime,
) -> None:
    """Add one study to the report; `transforms` are the names of the actions that change copies."""
    catches = list(caught(draft, series, triggers=TRIGGERS, now=now))
    would = deeds(catches, transforms)
    live_catches = list(caught(live, series, triggers=TRIGGERS, now=now))
    does = deeds(live_catches, transforms)
    report.studies += 1
    report.series += len(series)
    report.by_deed.update(would)
    report.live_by_deed.update(does)
    report.live_by_rule.update({catch.verdict.rule.name for catch in live_catches})
    for name in sorted({catch.verdict.rule.name for catch in catches}):
        report.by_rule[name] += 1
        known = report.examples.setdefault(name, [])
        if len(known) < MOST_EXAMPLES:
            known.append(study_uid)
    if would != does:
        report.differing += 1
        if len(report.different) < MOST_SHOWN:
            told = (tuple(sorted(would - does)), tuple(sorted(does - would)))
            report.different.append(Difference(study_uid, *told))


def deeds(catches: Iterable[Catch], transforms: Collection[str]) -> set[str]:
    """What would be done without being asked: ``forward to archive after morph, anonymize``."""
    told: set[str] = set()
    for catch in catches:
        if catch.verdict.rule.trigger is Trigger.ON_DEMAND:
            continue
        if catch.verdict.rule.trigger is Trigger.BEFORE_STORAGE:
            told.add("change tags before storage")
            continue
        before: list[str] = []
        for step in catch.verdict.rule.actions:
            if step.action in transforms:
                before.append(step.action)
            elif step.action == "forward":
                after = f" after {', '.join(before)}" if before else ""
                told.add(f"forward to {step.settings.get('to')}{after}")
            else:
                told.add(step.action)
    return told
