from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from extensions.routing.job_action import JOB, Job
from extensions.routing.portal import text_help
from gateway.actions import Actions, RuleJob, Step
from gateway.errors import InvalidInput


class Spacing(BaseModel):
    model_config = ConfigDict(extra="forbid")
    spacing_mm: float = Field(description="From one slice to the next.")


KNOWN = Actions(
    [JOB],
    {
        "scan_length": [RuleJob("measure", "Measure", Spacing), RuleJob("forget", "")],
        "aorta": [RuleJob("segment", "")],
    },
)


def line(**settings: Any) -> dict[str, Any]:
    return {
        "extension": "scan_length",
        "task": "measure",
        "arguments": {"spacing_mm": 5},
        **settings,
    }


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (
            line(extension="scan-length"),
            "extension: 'scan-length' .* use one of aorta, scan_length",
        ),
        (line(task="segment"), "task: 'segment' .* use one of forget, measure"),
        (line(arguments={}), "arguments: spacing_mm: "),
        (line(arguments={"spacing_mm": "wide"}), "arguments: spacing_mm: "),
        (line(task="forget"), "arguments: spacing_mm: "),
        (line(queue="gpu"), "queue: "),
        ({"extension": "aorta"}, "task: "),
    ],
)
def test_a_job_that_cannot_be_started_is_refused_with_what_there_is(
    given: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        KNOWN.parse(Step("job", given))


def test_an_installation_without_any_such_job_says_so() -> None:
    with pytest.raises(InvalidInput, match="no extension has a job"):
        Actions([JOB]).parse(Step("job", line()))


def test_the_editor_names_each_job_that_there_is_with_what_it_is_told() -> None:
    (told,) = text_help.actions_of(KNOWN)
    written = "{extension: scan_length, task: measure}"
    assert told.settings[written] == "Measure; spacing_mm: From one slice to the next."
    assert len([name for name in told.settings if name.startswith("{")]) == 3


def test_a_job_that_there_is_can_be_started() -> None:
    _, settings = KNOWN.parse(Step("job", line()))
    assert isinstance(settings, Job)
    assert settings.arguments == {"spacing_mm": 5}
