"""What a rule can do with a study: the actions that routing runs and that extensions add to.

Of two kinds. A *transform* changes the copies that the actions after it send; the archive keeps
what was received. An *effect* does something once for what the rule has caught. An extension adds
its own by the hook `rule_actions`, in its worker.py (where they run) and in its portal.py (where
rules are checked); both return the same list. By the hook `rule_jobs` it says which of its tasks
rules may start, by routing's action *job*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from gateway.addresses import complaints
from gateway.archive import Reference
from gateway.errors import BrokenExtension, GatewayError, InvalidInput

if TYPE_CHECKING:
    from pluggy import PluginManager
    from pydicom import Dataset

    from gateway.context import TaskContext


class NeedsPerson(GatewayError):
    """The study waits for a person's decision.

    Look at the reason on the study's page; release it there, or discard it.
    """

    http_status = 409


@dataclass(frozen=True)
class Step:
    """One line of a rule: an action by its name, and its settings as JSON."""

    action: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """``{action: settings}``, as in rows and in YAML."""
        return {self.action: dict(self.settings)}


def steps_of(stored: Iterable[Mapping[str, Mapping[str, Any]]]) -> tuple[Step, ...]:
    """Steps from ``[{action: settings}, ...]``."""
    return tuple(Step(action, settings) for step in stored for action, settings in step.items())


@dataclass(frozen=True)
class Subject:
    """What a rule has caught: instances of one study, and the transforms of the lines before.

    `round` grows each time more instances of the study come; `instances` are always all of them.
    `series_instance_uid` only of a rule that looks at each series for itself.
    """

    study_instance_uid: str
    instances: tuple[Reference, ...]
    rule_name: str
    reason: Sequence[Mapping[str, Any]] = ()
    transforms: tuple[Step, ...] = ()
    priority: str = "normal"
    round: int = 1
    series_instance_uid: str = ""


type Change = Callable[[Dataset], Dataset]
"""From an instance as it was received to the copy that leaves; may change what it is given."""


@dataclass(frozen=True)
class Transform[S: BaseModel]:
    """An action on copies.

    `prepare` is called once per study and sending, may look things up, and raises `NeedsPerson`
    or an error that can be tried again. What it returns is called for each instance and does no
    I/O; the same study prepared again must give the same copies, also in another process.
    `preview` does the same for a try-out and keeps nothing; needed only where `prepare` does.
    """

    name: str
    title: str
    settings: type[S]
    prepare: Callable[[TaskContext, S, str], Change]
    preview: Callable[[TaskContext, S, str], Change] | None = None


@dataclass(frozen=True)
class Effect[S: BaseModel]:
    """An action that is done once for a `Subject`.

    It runs in a job, at least once, so it must bear being run again. `NeedsPerson` holds the lines
    after it back until somebody releases them.
    """

    name: str
    title: str
    settings: type[S]
    run: Callable[[TaskContext, S, Subject], None]


type Action = Transform[Any] | Effect[Any]


class NoArguments(BaseModel):
    """A task that is told the study alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class RuleJob:
    """A task of an extension's worker.py that rules may start.

    It is called as ``task(context, study_uid=..., series_uid=..., **arguments)``; `series_uid` is
    empty but for a rule that looks at each series. `arguments` is the model of those that a rule
    gives, by which the rule is checked. It runs for at most `time_limit_s` seconds, at least once;
    in `queue`, or in the one of the rule's priority.
    """

    task: str
    title: str
    arguments: type[BaseModel] = NoArguments
    queue: str = ""
    time_limit_s: int = 600


class Actions:
    """Every action of this installation by its name, and the jobs that rules may start."""

    def __init__(
        self, actions: Iterable[Action], jobs: Mapping[str, Sequence[RuleJob]] | None = None
    ) -> None:
        self._jobs = {
            (extension, job.task): job for extension, of_it in (jobs or {}).items() for job in of_it
        }
        self._by_name: dict[str, Action] = {}
        for action in actions:
            if action.name in self._by_name:
                raise BrokenExtension(f"Two extensions have an action named {action.name!r}.")
            self._by_name[action.name] = action

    @classmethod
    def of(cls, manager: PluginManager) -> Actions:
        """What the loaded extensions add."""
        jobs: dict[str, Sequence[RuleJob]] = {}
        for declared in manager.hook.rule_jobs.get_hookimpls():
            jobs[declared.plugin_name] = declared.function()  # type: ignore[assignment]
        return cls((action for added in manager.hook.rule_actions() for action in added), jobs)

    def __iter__(self) -> Iterator[Action]:
        return iter(self._by_name.values())

    @property
    def transforms(self) -> frozenset[str]:
        """The names of those that change copies."""
        return frozenset(name for name, a in self._by_name.items() if isinstance(a, Transform))

    @property
    def jobs(self) -> Mapping[tuple[str, str], RuleJob]:
        """What rules may start, by extension and task."""
        return self._jobs

    def parse(self, step: Step) -> tuple[Action, BaseModel]:
        """The action and its settings; raises `InvalidInput` that names each place and the cure."""
        action = self._by_name.get(step.action)
        if action is None:
            known = ", ".join(sorted(self._by_name))
            raise InvalidInput(f"action: {step.action!r} is unknown; use one of {known}.")
        try:
            # The action *job* is checked by what there is to start.
            return action, action.settings.model_validate(dict(step.settings), context=self)
        except ValidationError as error:
            told = "; ".join(complaints(error))
            raise InvalidInput(f"{step.action}: {told}.") from None
