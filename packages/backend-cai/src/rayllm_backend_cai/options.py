"""What a person may write under `cluster.options:` of the backend `cai`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import ByteSize, Field, StringConstraints, model_validator

from rayllm import Options

GroupName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=20)]


class NodeOptions(Options):
    """One application of the platform that is a Ray node."""

    cpus: float = Field(default=4, gt=0)
    """CPU cores."""
    memory: Annotated[ByteSize, Field(gt=0)] = ByteSize(16 << 30)
    """Main memory: `16GiB`, or a number of bytes."""
    gpus: int = Field(default=0, ge=0)
    """Whole GPUs."""
    accelerator: str | None = None
    """Kind of the GPUs as the workspace names it, or a part of that (`L40S`); the workspace's default if left out."""
    runtime: str | None = None
    """Image that it runs in; by default the newest one with Python that fits: with CUDA where there are GPUs."""

    @property
    def gigabytes(self) -> float:
        """Main memory as the platform counts."""
        return round(self.memory / (1 << 30), 3)

    @model_validator(mode="after")
    def _has_gpus_of_a_kind(self) -> NodeOptions:
        if self.accelerator and not self.gpus:
            raise ValueError("accelerator is a kind of GPUs, and gpus is 0")
        return self


class WorkerRange(Options):
    """How many workers, following what replicas wait for."""

    min: int = Field(default=0, ge=0)
    """At least so many."""
    max: int = Field(default=1, ge=1)
    """At most so many."""

    @model_validator(mode="after")
    def _is_a_range(self) -> WorkerRange:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is more than max {self.max}")
        return self


class WorkerOptions(NodeOptions):
    """A group of workers that are alike."""

    count: Annotated[int, Field(ge=0)] | WorkerRange = 1
    """How many: a fixed number, or `{min: 0, max: 4}`, which follows what replicas wait for."""


class GitOptions(Options):
    """Where a project that is made is cloned from."""

    url: str
    """`https://…` or `git@…`; a token in it as `${env:NAME}`."""
    ref: str = ""
    """Branch or tag; the repository's default if left out."""


class CaiOptions(Options):
    """Options of the backend `cai`."""

    host: str = ""
    """The workspace's address, as it stands in the browser; by default `$CML_HOST`, inside of CAI the session's own."""
    key: str = ""
    """An API v2 key, as `${env:NAME}`; by default `$CML_API_KEY`, inside of CAI the session's own."""
    application_key: str = ""
    """An API v2 key with the audience Application, as `${env:NAME}`, for who asks the endpoint through the workspace's
    log-in; by default `$CML_APPLICATION_KEY`, else `key`, where it has that audience, too."""
    ca: Path | None = None
    """File (PEM) of the authorities that may vouch for the workspace's API, instead of the usual ones. `$SSL_CERT_FILE`
    is such a file for the endpoint, too."""
    project: str = ""
    """Name of the project, made if there is none, or the id of one that is there; by default `$CML_PROJECT`, inside of
    CAI the session's own, else the deployment's name."""
    git: GitOptions | None = None
    """Clone a new project from git; blank if left out."""
    subdomain: str = ""
    """Of the endpoint: `https://SUBDOMAIN.WORKSPACE`; by default the deployment's name."""
    bypass_authentication: bool = False
    """Let the endpoint be asked without the workspace's log-in; `gateway.keys` are needed then."""
    head: NodeOptions = NodeOptions()
    """The application with Ray's head and the gateway."""
    workers: dict[GroupName, WorkerOptions] = Field(default_factory=dict)
    """Groups of further nodes, by name."""
    idle_minutes: float = Field(default=5, gt=0)
    """Minutes without work after which a worker of a range is removed."""
    on_down: Literal["cluster", "files", "project"] = "cluster"
    """What `rayllm down` removes: the cluster alone, RayLLM's files in the project too (environments, models), or the
    whole project. The last two are refused while other applications are there."""
