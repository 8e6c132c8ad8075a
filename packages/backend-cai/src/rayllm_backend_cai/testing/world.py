"""What is in a workspace: rows as the API shows them, and what lies behind each."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rayllm_backend_cai.testing import replies
from rayllm_backend_cai.testing.clock import Clock
from rayllm_backend_cai.testing.faults import Faults
from rayllm_backend_cai.testing.pods import End, Pod
from rayllm_backend_cai.testing.replies import absent
from rayllm_backend_cai.testing.settings import Settings

Json = dict[str, Any]
IMAGE = "container.repository.example.com/cloudera/cdsw/ml-runtime-pbj-workbench-python3.11-standard:2026.04.2-b16"
USER = "u1"


@dataclass
class Key:
    """An API v2 key."""

    username: str = USER
    audiences: frozenset[str] = frozenset({"API", "Application"})


@dataclass
class Workload:
    """A pod with what it was started for, as quota and the page of usage see it."""

    kind: str
    """`Application` or `Job`."""
    name: str
    project: str
    row: Json
    """The application's or run's; its own status is `status`."""
    cpu: float
    memory: float
    nvidia_gpu: int
    created: float
    pod: Pod
    status: str = "scheduling"
    finished: float | None = None
    orphan: bool = False

    @property
    def end(self) -> End | None:
        """How its script ended."""
        return self.pod.end


@dataclass
class Item:
    """A project, an application, a job or a run: its row, and what the API does not show of it."""

    row: Json
    created: float
    gone: float | None = None
    """When it disappears from lists."""
    workload: Workload | None = None
    task: asyncio.Task[None] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Of the row, read."""
        return dict(json.loads(self.row["environment"] or "{}"))


@dataclass
class Project(Item):
    """A project with all that is in it."""

    number: int = 0
    folder: Path = Path()
    """Its shared disk; stands for /home/cdsw."""
    applications: dict[str, Item] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)


@dataclass
class Job(Item):
    """A job with its runs."""

    runs: dict[str, Item] = field(default_factory=dict)


class World:
    """All of a workspace. Belongs to the loop's thread."""

    def __init__(self, settings: Settings, root: Path) -> None:
        self.settings = settings
        self.root = root
        self.clock = Clock()
        self.faults = Faults()
        self.domain = ""
        """Host and port; set once it listens."""
        self.keys: dict[str, Key] = {}
        self.projects: dict[str, Project] = {}
        self.workloads: list[Workload] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.crashes: list[BaseException] = []
        """Mistakes of the fake's own."""
        self.runtimes: list[Json] = [runtime(IMAGE)]
        self.node_labels: list[Json] = [node_label("1", "NVIDIA-L4", 1)]
        self.addons: list[Json] = []

    def stamp(self) -> str | None:
        """Now, as the API writes it."""
        return replies.stamp(self.clock.now())

    def project(self, project: str) -> Project:
        """One by its id.

        Raises:
            Refused: there is none.
        """
        found = self.projects.get(project)
        if found is None or found.gone is not None:
            raise absent(f"project {project}")
        return found

    def shown(self, items: dict[str, Any]) -> list[Json]:
        """The rows that lists show now: what is new comes late, what is gone stays a while."""
        now, lag = self.clock.now(), self.settings.list_lag_s
        late = (item for item in items.values() if item.created + lag <= now)
        return [item.row for item in late if item.gone is None or now < item.gone]

    def go(self, work: Any) -> asyncio.Task[None]:
        """Let something of the platform's go on beside requests."""
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.crashes.append(error)

    async def close(self) -> None:
        """End every process."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await asyncio.gather(*(workload.pod.stop() for workload in self.workloads))


def person(name: str = USER) -> Json:
    """A user in a reply."""
    return {"username": name, "name": name.upper(), "email": f"{name}@example.com"}


def runtime(image: str, status: str = "ENABLED") -> Json:
    """A runtime in a reply."""
    told = {"editor": "Workbench", "kernel": "Python 3.11", "edition": "Standard", "description": ""}
    return {"image_identifier": image, **told, "full_version": "2026.04.2-b16", "status": status, "register_user_id": 0}


def node_label(number: str, value: str, gpus: int) -> Json:
    """A kind of accelerator in a reply; whole numbers of 64 bits are text."""
    counts = dict.fromkeys(("max_gpu_count", "current_gpu_count", "max_gpu_per_workload"), str(gpus))
    told = {"label_key": "nvidia.com/gpu.product", "label_value": value, "availability": True, "default_quota": "0"}
    return {"id": number, **told, **counts}
