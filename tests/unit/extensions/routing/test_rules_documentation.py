from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from extensions import routing
from extensions.routing.rules.condition_fields import FACTS
from extensions.routing.rules.condition_values import Operator
from extensions.routing.rules.rule import Complete, Priority, RuleDocument, Trigger
from extensions.routing.rules.rules_yaml import dump_rules, load_rules

README = Path(routing.__file__).with_name("README.md").read_text(encoding="utf-8")
RULES = README.split("\n## Rules\n")[1].split("\n## ")[0]

NAMES = [
    *Operator,
    *FACTS,
    *Trigger,
    *get_args(Priority.__value__),
    *RuleDocument.model_fields,
    *Complete.model_fields,
]


@pytest.mark.parametrize("name", NAMES)
def test_the_manual_knows_every_field_operator_and_setting(name: str) -> None:
    assert f"`{name}`" in RULES


def test_the_manuals_example_can_be_imported() -> None:
    example = RULES.split("```yaml\n")[1].split("```")[0]
    assert dump_rules(load_rules(example)) == example
