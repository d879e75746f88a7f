"""What every rule says of one DICOM file that somebody uploads. Nothing is kept."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from datetime import datetime
from typing import IO

from pydicom import config, dcmread

from extensions.routing.rules import facts
from extensions.routing.rules.deciding import Verdict, decide
from extensions.routing.rules.dicom_json import DAMAGED, of_readable
from extensions.routing.rules.facts import Facts
from extensions.routing.rules.rule import RuleDocument
from gateway.errors import InvalidInput


def facts_of_file(file: IO[bytes], calling_aet: str = "") -> Facts:
    """The facts of the file, as if it were a series of its own; raises `InvalidInput`."""
    try:
        # pydicom's warnings quote values.
        with config.disable_value_validation(), warnings.catch_warnings(action="ignore"):
            told = of_readable(dcmread(file, stop_before_pixels=True))
    except DAMAGED:
        raise InvalidInput("file: it is no DICOM file that can be read; choose another.") from None
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
