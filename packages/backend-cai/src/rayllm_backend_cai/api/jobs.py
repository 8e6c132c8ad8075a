"""Jobs and their runs."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from rayllm_backend_cai.api.pages import listed, named
from rayllm_backend_cai.api.projects import deleted
from rayllm_backend_cai.api.records import Job, JobRun, NewJob
from rayllm_backend_cai.api.transport import Transport
from rayllm_backend_cai.api.wire import patch, segment

RUN_MARK = "RAYLLM_CAI_RUN"
"""Environment variable of every run: by it a run is found whose start was not answered, runs having no name."""


class Jobs:
    """Jobs of projects."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def all(self, project: str, search: Mapping[str, str] | None = None) -> list[Job]:
        """All of a project, or those whose fields have these parts."""
        return listed(self._transport, Job, _path(project), "jobs", search=search)

    def named(self, project: str, name: str) -> list[Job]:
        """Those of exactly this name, the newest first."""
        return named(self.all(project, {"name": name}), name)

    def get(self, project: str, job: str) -> Job:
        """One by its id.

        Raises:
            NotFoundError: there is none.
        """
        return self._transport.read(Job, "GET", _path(project, job))

    def create(self, project: str, new: NewJob) -> Job:
        """Make one; its script must be there. Ask `named` before: this finds its own by name after a fault."""

        def look() -> Job | None:
            return next(iter(self.named(project, new.name)), None)

        return self._transport.make(Job, _path(project), new.body(), look)

    def update(self, project: str, job: str, **changes: Any) -> Job:
        """Change fields of `NewJob`. An environment replaces the whole one; `paused` and `timezone` change nothing."""
        return self._transport.read(Job, "PATCH", _path(project, job), json=patch(changes))

    def delete(self, project: str, job: str) -> bool:
        """Delete it; False if there was none."""
        return deleted(self._transport, _path(project, job))

    def runs(self, project: str, job: str) -> list[JobRun]:
        """Its runs."""
        return listed(self._transport, JobRun, _path(project, job) + "/runs", "job_runs")

    def start(
        self, project: str, job: str, *, arguments: str | None = None, environment: Mapping[str, str] | None = None
    ) -> JobRun:
        """Start a run; `arguments` reach the script as the environment variable JOB_ARGUMENTS.

        A run that comes back `skipped` did not start: another one is active, as some workspaces say it.

        Raises:
            AlreadyActiveError: another one is active.
        """
        mark = secrets.token_hex(8)
        body: dict[str, Any] = {"environment": {**(environment or {}), RUN_MARK: mark}}
        if arguments is not None:
            body["arguments"] = arguments

        def look() -> JobRun | None:
            return next((run for run in self.runs(project, job) if run.environment.get(RUN_MARK) == mark), None)

        return self._transport.make(JobRun, _path(project, job) + "/runs", body, look)

    def run(self, project: str, job: str, run: str) -> JobRun:
        """One of its runs.

        Raises:
            NotFoundError: there is none.
        """
        return self._transport.read(JobRun, "GET", _path(project, job) + f"/runs/{segment(run)}")

    def stop(self, project: str, job: str, run: str) -> JobRun:
        """Stop one of its runs."""
        return self._transport.read(JobRun, "POST", _path(project, job) + f"/runs/{segment(run)}:stop")


def _path(project: str, job: str | None = None) -> str:
    path = f"/projects/{segment(project)}/jobs"
    return path if job is None else f"{path}/{segment(job)}"
