"""What stands beside the editor: examples to insert, and what each action takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic.fields import FieldInfo

from gateway.actions import Actions

FIRST = """\
rules:
- name: CT to the archive
  when: {field: Modality, operator: equals, value: CT}
  actions:
  - forward: {to: archive}
"""

EXAMPLES: Sequence[tuple[str, str]] = (
    (
        "Nested conditions",
        """\
  when:
    all:
    - {field: Modality, operator: one of, value: [CT, MR]}
    - {field: calling_aet, operator: matches pattern, value: ER*}
    - any:
      - {field: BodyPartExamined, operator: equals, value: CHEST}
      - {field: StudyDescription, operator: contains, value: thorax}
    - none:
      - {field: labels, operator: equals, value: research}
""",
    ),
    ("At night", "    - {field: time_of_day, operator: between, value: ['22:00', '06:00']}\n"),
    (
        "In a sequence",
        "    - {field: RequestAttributesSequence.AccessionNumber, operator: exists}\n",
    ),
    (
        "When the study is complete",
        """\
  trigger: study complete
  complete:
    series:
    - {field: SeriesDescription, operator: contains, value: T1}
    - {field: SeriesDescription, operator: contains, value: T2}
    instances: 40
""",
    ),
    (
        "Change tags, then forward",
        """\
  - morph:
      changes:
      - {do: prefix, tag: AccessionNumber, text: N-}
      - {do: set, tag: InstitutionName, value: Riverside Hospital}
  - forward: {to: archive}
""",
    ),
    (
        "Correct tags before everybody sees them",
        """\
  trigger: before storage
  actions:
  - morph:
      changes:
      - {do: set, tag: InstitutionName, value: Riverside Hospital}
      reason: CORRECT
""",
    ),
    (
        "A number from a table",
        """\
  - crosswalk:
      table: accessions
      look_up: AccessionNumber
      sets: {new: AccessionNumber}
  - forward: {to: archive}
""",
    ),
    (
        "To the archive, and without names to research",
        """\
  - forward: {to: archive}
  - anonymize: {project: CHESTCT}
  - forward: {to: research}
""",
    ),
    ("Tell somebody", "  - notify: {email: [radiology@hospital.example]}\n"),
    ("Hold for a person", "  - hold: {reason: Check the name.}\n"),
    ("Label", "  - label: {add: [emergency]}\n"),
    ("Urgent, and nothing after it", "  priority: urgent\n  stop: true\n"),
)


@dataclass(frozen=True)
class ActionHelp:
    """An action, and its settings by name with what they mean."""

    name: str
    title: str
    settings: Mapping[str, str]


def actions_of(actions: Actions) -> list[ActionHelp]:
    """Every action of this installation, by name."""
    return [
        ActionHelp(
            action.name,
            action.title,
            {name: it.description or "" for name, it in action.settings.model_fields.items()}
            | (_jobs_of(actions) if action.name == "job" else {}),
        )
        for action in sorted(actions, key=lambda action: action.name)
    ]


def _jobs_of(actions: Actions) -> dict[str, str]:
    """What the action *job* can start here: each as it is written, with what it does."""
    return {
        f"{{extension: {extension}, task: {job.task}}}": "; ".join(
            [job.title, *map(_argument, job.arguments.model_fields.items())]
        )
        for (extension, _), job in sorted(actions.jobs.items())
    }


def _argument(named: tuple[str, FieldInfo]) -> str:
    name, it = named
    return f"{name}: {it.description or 'an argument'}"
