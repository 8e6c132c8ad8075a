"""What the client reads and writes, as far as RayLLM uses it. Names are the API's own."""

from __future__ import annotations

from pydantic import Field

from rayllm_backend_cai.api.wire import Environment, Int64, Record, Request, Status, Time


class Project(Record):
    """A project: a folder on shared disk, and what runs in it."""

    id: str
    name: str = ""
    slug: str = ""
    creation_status: Status = ""
    """`creating`, then `success` (seen too: `ready`, `running`) or `failure`; files of a git clone may come later."""
    default_engine_type: str = ""
    shared_memory_limit: int = 0
    """MB of /dev/shm beyond the first 64."""
    environment: Environment = Field(default_factory=dict, repr=False)
    created_at: Time = None


class NewProject(Request):
    """A project to be made: blank, or cloned from git."""

    name: str
    description: str = ""
    visibility: str = "private"
    template: str = "blank"
    """`git` with a `git_url`."""
    git_url: str = Field(default="", repr=False)
    """May hold a token."""
    git_ref: str = ""
    default_project_engine_type: str = "ml_runtime"
    shared_memory_limit: int = 0
    environment: dict[str, str] = Field(default_factory=dict, repr=False)


class Application(Record):
    """A long-running script with a web address."""

    id: str
    name: str = ""
    description: str = ""
    subdomain: str = ""
    """May differ from the one that was asked for: some workspaces add a suffix to one that is taken."""
    script: str = ""
    status: Status = "unknown"
    """`starting`, `running`, `stopping`, `stopped`, `failed`, `unknown`."""
    cpu: float = 0
    memory: float = 0
    """GB."""
    nvidia_gpu: int = 0
    accelerator_label_id: Int64 = 0
    bypass_authentication: bool = False
    runtime_identifier: str = ""
    environment: Environment = Field(default_factory=dict, repr=False)
    created_at: Time = None
    starting_at: Time = None
    running_at: Time = None
    stopped_at: Time = None


class NewApplication(Request):
    """An application to be made; it starts at once."""

    name: str
    subdomain: str
    script: str
    """Path below the project's folder."""
    runtime_identifier: str
    description: str = ""
    cpu: float = 1
    memory: float = 1
    """GB."""
    nvidia_gpu: int = 0
    accelerator_label_id: int = 0
    bypass_authentication: bool = False
    environment: dict[str, str] = Field(default_factory=dict, repr=False)


class Job(Record):
    """A script that runs on demand, by schedule or after another one."""

    id: str
    name: str = ""
    script: str = ""
    arguments: str = ""
    parent_id: str = ""
    type: str = ""
    cpu: float = 0
    memory: float = 0
    """GB."""
    nvidia_gpu: int = 0
    timeout: Int64 = 0
    """Seconds."""
    runtime_identifier: str = ""
    environment: Environment = Field(default_factory=dict, repr=False)
    created_at: Time = None


class NewJob(Request):
    """A job to be made."""

    name: str
    script: str
    runtime_identifier: str
    arguments: str = ""
    parent_id: str = ""
    cpu: float = 1
    memory: float = 1
    """GB."""
    nvidia_gpu: int = 0
    accelerator_label_id: int = 0
    timeout: int = 0
    """Seconds."""
    kill_on_timeout: bool = False
    environment: dict[str, str] = Field(default_factory=dict, repr=False)


ENDED = frozenset({"succeeded", "failed", "stopped", "timedout", "skipped"})
"""States that a run does not leave."""


class JobRun(Record):
    """One run of a job. The API tells no reason and no log of it."""

    id: str
    job_id: str = ""
    status: Status = "unknown"
    """`scheduling`, `starting`, `running`, `stopping`, those in `ENDED`, `unknown`."""
    arguments: str = ""
    environment: Environment = Field(default_factory=dict, repr=False)
    created_at: Time = None
    running_at: Time = None
    finished_at: Time = None


class FileInfo(Record):
    """A file or folder of a project."""

    path: str
    """Its name alone, without the folder that was listed."""
    is_dir: bool = False
    file_size: Int64 = 0


class Runtime(Record):
    """An image that scripts run in."""

    image_identifier: str
    editor: str = ""
    kernel: str = ""
    """`Python 3.11`."""
    edition: str = ""
    full_version: str = ""
    status: Status = ""
    """`enabled`, `deprecated`, `disabled`."""


class NodeLabel(Record):
    """A kind of accelerator."""

    id: Int64
    label_key: str = ""
    label_value: str = ""
    """`NVIDIA-L4`."""
    availability: bool = False
    max_gpu_count: Int64 = 0
    current_gpu_count: Int64 = 0
    max_gpu_per_workload: Int64 = 0


class KeyCheck(Record):
    """Whose key it is, and whether it is good for what was asked."""

    valid: bool = False
    username: str = ""
    message: str = ""


class K8sInfo(Record):
    """How a workload's container ended."""

    k8s_exit_code: int = 0
    k8s_signal: str = ""
    k8s_reason: str = ""
    k8s_message: str = ""


class Usage(Record):
    """A workload as the page of usage has it: the only place that tells why one ended."""

    id: str = ""
    name: str = ""
    creator: str = ""
    project_name: str = ""
    workload_type: str = ""
    status: Status = ""
    cpu: float = 0
    memory: float = 0
    nvidia_gpu: float = 0
    created_at: Time = None
    message: str = ""
    oom_killed: bool = False
    k8s_info: K8sInfo = K8sInfo()


class Amounts(Record):
    """Cores, GB and GPUs; None where nothing is said."""

    cpu: float | None = None
    memory: float | None = None
    nvidia_gpu: float | None = None


class Quota(Record):
    """What a user may have, and has."""

    class User(Record):
        """Whose."""

        user_name: str = ""

    user: User = User()
    quota_usage: Amounts = Amounts()
    quota_configured: Amounts = Amounts()
