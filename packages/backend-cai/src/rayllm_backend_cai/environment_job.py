"""The operator's side of the nodes' environments: a job of the project makes them, and is followed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from rayllm.backends import Preparation, Progress
from rayllm.errors import ClusterError
from rayllm_backend_cai import shared
from rayllm_backend_cai.api import AlreadyActiveError, CaiClient, QuotaError
from rayllm_backend_cai.api.records import ENDED, Job, JobRun, NewJob
from rayllm_backend_cai.bootstrap.asked import PREPARATION, prepared_name
from rayllm_backend_cai.bootstrap.requirements import Serving
from rayllm_backend_cai.environment_run import POLL_S, Run
from rayllm_backend_cai.kept_job import keep_job
from rayllm_backend_cai.preparation import content_of, digest_of, place_of
from rayllm_backend_cai.room import no_room
from rayllm_backend_cai.shared import Wanted

CPUS, MEMORY_GB = 2, 8
"""Of the job: what installing and importing the largest engine took, and as much again."""
TIMEOUT_S = 3 * 60 * 60
_STARTS = 5
"""How often a run is started or joined: others may make other environments with the same job."""


def job_name(cluster: str) -> str:
    """Name of the job that makes a cluster's environments."""
    return f"{cluster}-environment"


def ensure_environment(
    client: CaiClient,
    project: str,
    wanted: Wanted,
    serving: Serving,
    *,
    preparation: Preparation | None,
    progress: Progress,
    poll_s: float = POLL_S,
) -> None:
    """See that `serving/DIGEST/` is on the project's disk, and the environments of the models' engines.

    Where all is there, this asks for one listing and nothing else. Else it uploads what the job reads, makes or changes
    the job `NAME-environment`, starts a run of it, or joins one that is active, and follows it to its end.

    Args:
        client: opens the workspace.
        project: its id. The code of `wanted.code` and its script are on its disk.
        wanted: names the cluster, the code, the environment and, in its head, the runtime that the job gets.
        serving: the nodes' environment; its digest is `wanted.serving`.
        preparation: the models, None where there are none.
        progress: is told what goes on, as steps "environment" and "environment MODEL".
        poll_s: seconds between two looks at the run, at first.

    Raises:
        CaiError: the platform refuses something, as a key that has ended.
        ClusterError: there is no room for the job; or its run failed, with its own last words and what to do. What was
            done stays, and the next call goes on there.
        KeyboardInterrupt: the run is stopped, if this call started it.
    """
    Environments(client, project, wanted, serving, preparation).ensure(progress, poll_s)


@dataclass(frozen=True)
class Environments:
    """The environments of one cluster, as they are wanted now."""

    client: CaiClient
    project: str
    wanted: Wanted
    serving: Serving
    preparation: Preparation | None

    @property
    def prepared(self) -> str:
        """Digest of the engines' environments; empty where there are no models."""
        return digest_of(self.preparation) if self.preparation and self.preparation.models else ""

    def there(self) -> bool:
        """Whether all is finished: one listing."""
        folder = f"{shared.SERVING}/{self.wanted.serving}"
        names = {file.path for file in self.client.files.folder(self.project, folder)}
        return {shared.READY, *([prepared_name(self.prepared)] if self.prepared else [])} <= names

    def ensure(self, progress: Progress, poll_s: float) -> None:
        """As `ensure_environment`."""
        if self.there():
            progress("environment", "ready", done=True)
            return
        progress("environment", "telling the job what to make")
        self.upload()
        job = self.job()
        for _ in range(_STARTS):
            started, own = self._start(job)
            if started is None:
                continue
            run = Run(client=self.client, project=self.project, job=job, run=started, cluster=self.wanted.name, own=own)
            run.follow(progress, poll_s, serving=self.wanted.serving, preparation=self.prepared)
            if run.was_for(self.wanted.serving, self.prepared) or self.there():
                progress("environment", "ready", done=True)
                return
        raise ClusterError(
            f"the job {job.name} makes other environments than those wanted here, again and again",
            cause="somebody else deploys the same cluster with other versions or models",
            cure="once they are done: rayllm up",
        )

    def upload(self) -> None:
        """What the job reads; files are named by their content, and one that is there stays."""
        self._lay(f"{shared.SERVING}/{self.wanted.serving}.json", json.dumps(asdict(self.serving)).encode())
        if self.preparation and self.prepared:
            self._lay(f"{shared.CODE}/{self.preparation.digest}.zip", self.preparation.code)
            self._lay(str(place_of(self.wanted.name, self.prepared)), content_of(self.preparation))

    def job(self) -> Job:
        """The job, as it has to be now."""
        return keep_job(self.client, self.project, self.new_job())

    def new_job(self) -> NewJob:
        """What the job has to be."""
        return NewJob(
            name=job_name(self.wanted.name),
            script=str(shared.run_script(self.wanted.code)),
            runtime_identifier=self.wanted.head.runtime,
            cpu=CPUS,
            memory=MEMORY_GB,
            timeout=TIMEOUT_S,
            kill_on_timeout=True,
            environment={
                shared.TASK: "environment",
                shared.CLUSTER: self.wanted.name,
                shared.CODE_DIGEST: self.wanted.code,
                shared.SERVING_DIGEST: self.wanted.serving,
                PREPARATION: self.prepared,
            },
        )

    def _start(self, job: Job) -> tuple[JobRun | None, bool]:
        """A run, and whether it is this call's own; none where another one ended at this moment."""
        try:
            run = self.client.jobs.start(self.project, job.id)
        except AlreadyActiveError:
            pass
        except QuotaError as error:  # how much it asks for, no option says
            cure = "stop other workloads, or ask the administrator for more"
            raise no_room("job", [job], error, cure=cure) from error
        else:
            if run.status != "skipped":
                return run, True
        active = [one for one in self.client.jobs.runs(self.project, job.id) if one.status not in ENDED]
        return (active[0] if active else None), False

    def _lay(self, path: str, content: bytes) -> None:
        folder, _, name = path.rpartition("/")
        there = {file.path: file.file_size for file in self.client.files.folder(self.project, folder)}
        if there.get(name) != len(content):
            self.client.files.upload(self.project, path, content, there=there, by_content=True)
