"""What a draft of the rules would do with studies of before, beside what the live ones would.

Pure: nothing is sent, held or kept; see `tryouts.py` for where the studies come from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from extensions.routing.rules.catching import WHEN_STABLE, Catch, caught
from extensions.routing.rules.facts import Facts
from extensions.routing.rules.rule import RuleDocument, Trigger

MOST_SHOWN = 200
MOST_EXAMPLES = 5  # studies of a rule
TRIGGERS = (Trigger.BEFORE_STORAGE, *WHEN_STABLE, Trigger.ON_DEMAND)


class Deed(NamedTuple):
    """One thing: ``forward to archive after morph, anonymize`` (`to` the archive), ``hold``."""

    told: str
    to: str = ""


@dataclass(frozen=True)
class Treated:
    """A study: the rules of the draft that catch it, what they would do, what the live ones do."""

    study_instance_uid: str
    rules: tuple[str, ...]
    does: tuple[str, ...]
    live: tuple[str, ...]


@dataclass
class Report:
    """Counts of studies, and the first of them.

    `matching` a rule of the draft catches, `differing` it treats otherwise than the live rules;
    with `lost`, which are some of these, only live rules do something. Listed are `different`, and
    as `alike` those that match and are treated as now, each list cut after `MOST_SHOWN`.
    `changes` is what the transforms of a rule do to an example (tryout_changes.py).
    """

    studies: int = 0
    series: int = 0
    by_rule: Counter[str] = field(default_factory=Counter)
    live_by_rule: Counter[str] = field(default_factory=Counter)
    by_deed: Counter[str] = field(default_factory=Counter)
    live_by_deed: Counter[str] = field(default_factory=Counter)
    matching: int = 0
    lost: int = 0
    differing: int = 0
    different: list[Treated] = field(default_factory=list)
    alike: list[Treated] = field(default_factory=list)
    examples: dict[str, list[str]] = field(default_factory=dict)
    changes: list[dict[str, Any]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """For the row that keeps it."""
        lists = {"different": self.different, "alike": self.alike}
        return vars(self) | {name: [asdict(each) for each in of] for name, of in lists.items()}


def look_at(
    report: Report,
    study_uid: str,
    series: Mapping[str, Facts],
    *,
    draft: Sequence[RuleDocument],
    live: Sequence[RuleDocument],
    transforms: Collection[str],
    now: datetime,
    results: Mapping[str, object] | None = None,
) -> None:
    """Add one study to the report; `transforms` are the names of the actions that change copies."""
    catches = list(caught(draft, series, triggers=TRIGGERS, now=now, results=results))
    would = deeds(catches, transforms)
    live_catches = list(caught(live, series, triggers=TRIGGERS, now=now, results=results))
    does = deeds(live_catches, transforms)
    report.studies += 1
    report.series += len(series)
    report.by_deed.update(would)
    report.live_by_deed.update(does)
    report.live_by_rule.update({catch.verdict.rule.name for catch in live_catches})
    names = tuple(dict.fromkeys(catch.verdict.rule.name for catch in catches))
    for name in names:
        report.by_rule[name] += 1
        known = report.examples.setdefault(name, [])
        if len(known) < MOST_EXAMPLES:
            known.append(study_uid)
    differs = set(would) != set(does)
    report.matching += bool(names)
    report.lost += differs and not names
    report.differing += differs
    shown = report.different if differs else report.alike
    if (names or differs) and len(shown) < MOST_SHOWN:
        shown.append(Treated(study_uid, names, would, does))


def deeds(catches: Iterable[Catch], transforms: Collection[str]) -> tuple[str, ...]:
    """What would be done without being asked, each once, in the rules' order."""
    return tuple(
        dict.fromkeys(
            deed.told
            for catch in catches
            if catch.verdict.rule.trigger is not Trigger.ON_DEMAND
            for deed in deeds_of(catch.verdict.rule, transforms)
        )
    )


def deeds_of(rule: RuleDocument, transforms: Collection[str]) -> Iterator[Deed]:
    """What a rule does, in its order."""
    if rule.trigger is Trigger.BEFORE_STORAGE:
        yield Deed("change tags before storage")
        return
    before: list[str] = []
    for step in rule.actions:
        if step.action in transforms:
            before.append(step.action)
        elif step.action == "forward":
            after = f" after {', '.join(before)}" if before else ""
            to = str(step.settings.get("to"))
            yield Deed(f"forward to {to}{after}", to)
        else:
            yield Deed(step.action)
        if step.action == "discard":
            return
