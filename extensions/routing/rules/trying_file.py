"""What every rule says of one DICOM file that somebody uploads. Nothing is kept."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any

from pydicom import config, dcmread

from extensions.routing.rules import facts
from extensions.routing.rules.deciding import Verdict, decide
from extensions.routing.rules.dicom_json import DAMAGED, of_readable
from extensions.routing.rules.facts import Facts
from extensions.routing.rules.rule import RuleDocument, Trigger
from extensions.routing.rules.trying import Deed, deeds_of
from gateway.errors import InvalidInput


@dataclass(frozen=True)
class Trial:
    """A rule with what becomes of it, and of the `live` one of its name (None: there is none)."""

    verdict: Verdict
    live: Verdict | None

    @property
    def differs(self) -> bool:
        """Whether the live rules decide otherwise."""
        return self.live is None or self.live.outcome is not self.verdict.outcome


@dataclass(frozen=True)
class Planned:
    """What is done, by which rule; whether the draft and whether the live rules do it."""

    rule: str
    deed: Deed
    asked: bool
    draft: bool
    live: bool


def read(file: IO[bytes]) -> dict[str, Any]:
    """The file's tags as DICOM JSON (PS3.18 annex F), without pixels; raises `InvalidInput`."""
    try:
        # pydicom's warnings quote values.
        with config.disable_value_validation(), warnings.catch_warnings(action="ignore"):
            return of_readable(dcmread(file, stop_before_pixels=True))
    except DAMAGED:
        raise InvalidInput("file: it is no DICOM file that can be read; choose another.") from None


def facts_of(told: Mapping[str, Any], calling_aet: str = "") -> Facts:
    """The facts of the file, as if it were a series of its own."""
    return facts.of_series(told, calling_aet=calling_aet, instance_count=1)


def verdicts_of(rules: Sequence[RuleDocument], of_it: Facts, now: datetime) -> list[Verdict]:
    """One verdict for each rule, each at its own trigger, in the rules' order."""
    series = {"": of_it}
    about = facts.of_study([of_it], instance_count=1)
    decisions = {
        trigger: decide(rules, series, about, trigger, now).verdicts
        for trigger in {rule.trigger for rule in rules}
    }
    return [decisions[rule.trigger][place] for place, rule in enumerate(rules)]


def compared(draft: Sequence[Verdict], live: Sequence[Verdict]) -> list[Trial]:
    """Each rule of the draft beside the live one; those that differ first, then what fires."""
    known = {verdict.rule.name: verdict for verdict in live}
    trials = [Trial(verdict, known.get(verdict.rule.name)) for verdict in draft]
    return sorted(trials, key=lambda trial: (not trial.differs, not trial.verdict.fired))


def planned(
    draft: Sequence[Verdict], live: Sequence[Verdict], transforms: Collection[str]
) -> list[Planned]:
    """What would be done with the file, in the draft's order; then what only the live rules do."""
    would, does = _deeds(draft, transforms), _deeds(live, transforms)
    ordered = would | {each: asked for each, asked in does.items() if each not in would}
    return [Planned(*each, asked, each in would, each in does) for each, asked in ordered.items()]


def _deeds(
    verdicts: Sequence[Verdict], transforms: Collection[str]
) -> dict[tuple[str, Deed], bool]:
    """Each deed of each rule, by its name, and whether a person has to ask for it."""
    return {
        (verdict.rule.name, deed): verdict.rule.trigger is Trigger.ON_DEMAND
        for verdict in verdicts
        if verdict.fired
        for deed in deeds_of(verdict.rule, transforms)
    }
