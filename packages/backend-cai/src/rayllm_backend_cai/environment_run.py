"""Following a run of the job that makes environments, by what it writes to the project's disk."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from rayllm.backends import Progress
from rayllm.errors import ClusterError
from rayllm_backend_cai import shared
from rayllm_backend_cai.api import CaiClient, CaiError, NotFoundError
from rayllm_backend_cai.api.jobs import RUN_MARK
from rayllm_backend_cai.api.records import ENDED, Job, JobRun
from rayllm_backend_cai.bootstrap.journal import RECORD
from rayllm_backend_cai.endings import SILENT

POLL_S = 2.0
SLOWEST = 2.5
"""Polls become slower by so much: a build takes seconds, or many minutes."""
STEP = "environment"
_LATE = 3
"""How often the record is read again once the run has ended: a shared disk may show its last state late."""
_WAITS = {"scheduling": "waiting for room in the workspace", "starting": "starting the job's pod"}
_ENDS = {
    "timedout": "took longer than its job allows",
    "stopped": "was stopped",
    "failed": "failed before it could say why",
}


class Fault(BaseModel):
    """A `RayllmError` in parts."""

    message: str
    cause: str = ""
    cure: str = ""
    topic: str = ""

    def raised(self) -> ClusterError:
        """As an error again."""
        return ClusterError(self.message, cause=self.cause or None, cure=self.cure or None, topic=self.topic or None)


class Record(BaseModel):
    """What a run says of itself (`bootstrap.journal`)."""

    model_config = ConfigDict(extra="ignore")

    run: str
    serving: str
    preparation: str
    state: Literal["running", "succeeded", "failed"]
    step: str
    detail: str
    error: Fault | None = None


@dataclass(kw_only=True)
class Run:
    """One run."""

    client: CaiClient
    project: str
    job: Job
    run: JobRun
    cluster: str
    own: bool
    """Whether it is stopped when the person has enough."""
    record: Record | None = None
    """Its own last words, if there are any."""

    def was_for(self, serving: str, preparation: str) -> bool:
        """Whether it was to make just these environments."""
        return self.record is not None and (self.record.serving, self.record.preparation) == (serving, preparation)

    def follow(self, progress: Progress, poll_s: float, *, serving: str, preparation: str) -> None:
        """Watch it to its end; the failure of somebody else's run for other environments than these is no matter.

        Raises:
            ClusterError: it failed, with its own words; or it was removed.
            CaiError: it can't be looked at.
        """
        try:
            self._watch(progress, poll_s)
        except KeyboardInterrupt:
            self._stop(progress)
            raise
        if self.run.status != "succeeded" and (self.own or self.was_for(serving, preparation)):
            raise self._failure()

    def _watch(self, progress: Progress, poll_s: float) -> None:
        last, pause = (STEP, ""), poll_s
        while True:
            self.run = self._look()
            if self.run.status not in _WAITS:
                self.record = self._read() or self.record
            now = self._now()
            if now[0] != last[0]:
                self._leave(progress, last)
            if now != last and now[1]:
                progress(*now)
            last = now
            if self.run.status in ENDED:
                break
            time.sleep(pause)
            pause = min(pause * 1.02, poll_s * SLOWEST)
        for _ in range(_LATE):
            if self.record is None or self.record.state != "running":
                break
            time.sleep(poll_s)
            self.record = self._read() or self.record
        step, detail = self._now()
        if self.run.status == "succeeded" and step != STEP:  # that one ends once all is known to be there
            progress(step, detail, done=True)

    @staticmethod
    def _leave(progress: Progress, last: tuple[str, str]) -> None:
        """Another step has begun. That of the nodes' own environment ends once, with the engines'."""
        if last[0] == STEP:
            progress(STEP, "the nodes' own is ready, now the engines'")
        else:
            progress(*last, done=True)

    def _look(self) -> JobRun:
        try:
            return self.client.jobs.run(self.project, self.job.id, self.run.id)
        except NotFoundError as error:
            raise ClusterError(
                f"the job {self.job.name} was removed while it ran",
                cause=f"somebody took {self.cluster} down meanwhile, or deleted the job in the workspace",
                cure="rayllm up begins again",
                topic="another-operator",
            ) from error

    def _now(self) -> tuple[str, str]:
        if self.record:
            return self.record.step, self.record.detail
        return STEP, _WAITS.get(self.run.status, "")

    def _read(self) -> Record | None:
        """The record, where it is this run's."""
        path = shared.cluster_folder(self.cluster) / RECORD
        try:
            found = Record.model_validate_json(self.client.files.download(self.project, str(path)))
        except (NotFoundError, ValueError):  # not written yet, or by another version
            return None
        return found if found.run == self.run.environment.get(RUN_MARK) else None

    def _stop(self, progress: Progress) -> None:
        if not self.own:
            return
        try:
            self.client.jobs.stop(self.project, self.job.id, self.run.id)
        except CaiError as error:
            progress("environment", f"the job {self.job.name} goes on: {error.message}")

    def _failure(self) -> ClusterError:
        """What is known of a run that did not succeed."""
        if self.record and self.record.error:
            return self.record.error.raised()
        end = _ENDS.get(self.run.status, f"ended as {self.run.status!r}")
        silent = SILENT if self.run.status == "failed" else ""
        reached = f"it was at: {self.record.step}: {self.record.detail}" if self.record else silent
        cause = "\n".join(filter(None, [self._reason(), reached]))
        return ClusterError(
            f"the run of the job {self.job.name} {end}",
            cause=cause or None,
            cure="rayllm up goes on where it ended; the run's log is in the workspace: the project, Jobs, "
            f"{self.job.name}, History",
        )

    def _reason(self) -> str:
        """Why its container ended, where the platform tells this key's user."""
        try:
            found = [one for one in self.client.account.usage({"name": self.job.name}) if one.name == self.job.name]
        except CaiError:  # the page of usage is not everybody's; the failure itself is told all the same
            return ""
        last = max(found, key=lambda one: str(one.created_at), default=None)
        if last is None:
            return ""
        if last.oom_killed:
            return f"it needed more than the {self.job.memory:g} GB of memory that the job has"
        return last.message or last.k8s_info.k8s_message
