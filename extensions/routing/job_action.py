"""The action *job*: start a task of an extension, and go on when it is done.

Each round of a rule starts it once, whatever is killed: the job's key says for what it is. One
that has failed gives its key free, so that it starts anew when somebody releases the study.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from extensions.routing.runs import QUEUES
from gateway import jobs, studies
from gateway.actions import Actions, Effect, RuleJob, Subject
from gateway.addresses import complaints
from gateway.context import TaskContext
from gateway.db import Session
from gateway.errors import GatewayError, NotFound

SOONEST_S, LATEST_S = 0.5, 30.0  # between two looks whether the job is done


class JobFailed(GatewayError):
    """The job that a rule has started failed.

    Remove what it failed of, then release the study: it starts anew.
    """


class SwitchedOff(GatewayError):
    """A rule starts a job of an extension that the tenant has switched off.

    Switch it on under Extensions, then release the study.
    """


class Job(BaseModel):
    """What to start. Checked by the jobs that there are, which `Actions.parse` gives."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    extension: str = Field(max_length=64, description="Name of the extension.")
    task: str = Field(max_length=64, description="Which of its tasks.")
    arguments: dict[str, Any] = Field(default_factory=dict, description="What the task is told.")

    @model_validator(mode="after")
    def _exists(self, info: ValidationInfo) -> Self:
        actions = info.context if isinstance(info.context, Actions) else Actions(())
        job = actions.jobs.get((self.extension, self.task))
        if job is None:
            raise ValueError(self._unknown(actions))
        try:
            job.arguments.model_validate(self.arguments)
        except ValidationError as error:
            told = "; ".join(f"arguments: {line}" for line in complaints(error))
            raise ValueError(told) from None
        return self

    def _unknown(self, actions: Actions) -> str:
        extensions = sorted({extension for extension, _ in actions.jobs})
        if not extensions:
            return "extension: no extension has a job that rules may start; leave the line out"
        if self.extension not in extensions:
            known = ", ".join(extensions)
            return f"extension: {self.extension!r} has no job for rules; use one of {known}"
        known = ", ".join(sorted(task for owner, task in actions.jobs if owner == self.extension))
        return f"task: {self.task!r} is no job of {self.extension} for rules; use one of {known}"


def run(context: TaskContext, settings: Job, subject: Subject) -> None:
    """Start it if this round has not; raises `Postpone` until it is done.

    Raises `JobFailed` and `SwitchedOff`.
    """
    job = context.actions.jobs[settings.extension, settings.task]
    with context.database.tenant_session(context.tenant_id) as session:
        key = _key(session, settings, subject)
        standing = jobs.standing(session, context.tenant_id, key)
        if standing is None:
            _check_on(session, settings.extension)
            _start(session, context.tenant_id, job, settings, subject, key)
        elif standing.state == "failed":
            jobs.free_key(session, standing.job_id)
    if standing is not None and standing.state == "done":
        return
    name = f"{settings.extension}: {settings.task}"
    if standing is not None and standing.state == "failed":
        raise JobFailed(f"{name}: {standing.last_error}")
    age_s = standing.age_s if standing else 0.0
    raise jobs.Postpone(min(max(SOONEST_S, age_s / 4), LATEST_S), f"{name} is not done yet.")


def _check_on(session: Session, extension: str) -> None:
    off = session.execute(
        "SELECT FROM extension_setting WHERE extension = %s AND NOT enabled", [extension]
    ).fetchone()
    if off is not None:
        raise SwitchedOff(f"Extension {extension}.")


def _start(
    session: Session, tenant_id: str, job: RuleJob, settings: Job, subject: Subject, key: str
) -> None:
    given = job.arguments.model_validate(settings.arguments).model_dump(mode="json")
    uids = {"study_uid": subject.study_instance_uid, "series_uid": subject.series_instance_uid}
    jobs.enqueue(
        session,
        tenant_id=tenant_id,
        extension=settings.extension,
        task=job.task,
        arguments=given | uids,
        study_uid=subject.study_instance_uid,
        queue=job.queue or QUEUES[subject.priority],
        unique_key=key,
        time_limit_s=job.time_limit_s,
    )


def _key(session: Session, settings: Job, subject: Subject) -> str:
    """One for each round of a rule with a study, as long as the study is here."""
    study = studies.find(session, subject.study_instance_uid)
    if study is None:
        raise NotFound(f"Study {subject.study_instance_uid}.")
    told = [
        subject.study_instance_uid,
        study["first_received_at"].timestamp(),
        subject.series_instance_uid,
        subject.rule_name,
        subject.round,
        settings.model_dump(mode="json"),
    ]
    return f"rule-job:{hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()}"


JOB = Effect("job", "Run an extension's job", Job, run)
