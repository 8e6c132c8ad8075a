"""A job of a project that is there once, as it is wanted now."""

from __future__ import annotations

from rayllm_backend_cai.api import CaiClient
from rayllm_backend_cai.api.records import Job, NewJob

_EXACT = {"script", "runtime_identifier", "parent_id", "nvidia_gpu"}
_AT_LEAST = {"cpu", "memory", "timeout"}


def keep_job(client: CaiClient, project: str, new: NewJob) -> Job:
    """The project's job of this name, made if there is none, changed if it is another one.

    Variables that a person has added to it stay, and what they gave it more of. The platform keeps names unique no more
    than lists up to date: of several jobs the oldest counts, and one that was made at the same moment is taken back.
    """
    found = client.jobs.named(project, new.name)
    if not found:
        made = client.jobs.create(project, new)
        found = [one for one in client.jobs.named(project, new.name) if one.id != made.id]
        if not found or _age(made) < min(map(_age, found)):
            return made
        client.jobs.delete(project, made.id)
    job = min(found, key=_age)
    told = new.model_dump(include=_EXACT)
    told |= {name: max(value, getattr(job, name)) for name, value in new.model_dump(include=_AT_LEAST).items()}
    # a change replaces all of it
    told["environment"] = {**job.environment, **new.environment}
    changes = {name: value for name, value in told.items() if getattr(job, name) != value}
    return client.jobs.update(project, job.id, **changes) if changes else job


def _age(job: Job) -> tuple[str, str]:
    """By which jobs are put in order, the oldest first."""
    return str(job.created_at), job.id
