"""Starting workloads: quota, environment, process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

from rayllm_backend_cai.testing import replies
from rayllm_backend_cai.testing.pods import Pod, Ports, new_address
from rayllm_backend_cai.testing.replies import ABORTED, Refused, bad
from rayllm_backend_cai.testing.world import Item, Job, Json, Project, Workload, World

HOME = "/home/cdsw/"
_KEPT = ("PATH", "LANG", "TZ", "LD_LIBRARY_PATH")
"""Of the fake's own environment: what makes programs start at all."""
WAIT_S = 0.05
"""Real seconds between looks whether there is room."""
_NAMES = {"cpu": "CPU request", "memory": "memory request", "nvidia_gpu": "GPU"}


def check(world: World, project: Project, row: Mapping[str, object]) -> None:
    """Refuse what the platform refuses before anything is made.

    Raises:
        Refused: no runtime, one that there is not, or no such script.
    """
    image = str(row.get("runtime_identifier") or "")
    if not image and project.row["default_engine_type"] == "ml_runtime":
        raise bad("runtime image must be specified")
    usable = {one["image_identifier"] for one in world.runtimes if one["status"] != "DISABLED"}
    if image and image not in usable:
        raise bad(f"runtime {image} not found")
    labels = {one["id"] for one in world.node_labels}
    if str(row.get("accelerator_label_id") or "0") not in {"0", *labels}:
        raise bad(f"accelerator label {row['accelerator_label_id']} not found")
    script = below(str(row.get("script") or ""))
    if not script or not (project.folder / script).is_file():
        raise bad(f"script '{script}' not found in project directory")


def below(script: str) -> str:
    """A script's path below the project's folder."""
    return script.removeprefix(HOME).lstrip("/")


def exceeded(world: World, row: Json) -> str | None:
    """What there is too little of for a further workload, if anything."""
    running = [one for one in world.workloads if one.finished is None and one.status != "scheduling"]
    for name, said in _NAMES.items():
        used = sum(getattr(one, name) for one in running)
        if used + float(row[name]) > getattr(world.settings.limits, name):
            return f"out of quota: {said} limit reached"
    return None


def admit(world: World, row: Json) -> None:
    """Refuse what is over the user's limits, where the workspace does so at once.

    Raises:
        Refused: it is.
    """
    reason = exceeded(world, row)
    if reason and world.settings.over_limit == "refuse":
        raise Refused(409, ABORTED, reason)


def new_workload(world: World, kind: str, project: Project, item: Item, name: str) -> Workload:
    """A workload that waits for its place, with an id and an address of its own."""
    row, engine = item.row, replies.engine_id() if kind == "Application" else item.row["id"]
    ports = Ports.free() if world.settings.own_ports else Ports()
    logs = world.root / "logs"
    logs.mkdir(exist_ok=True)
    pod = Pod(engine, new_address(), ports, float(row["memory"]), logs / f"{engine}.log")
    amounts = (float(row["cpu"]), float(row["memory"]), int(row["nvidia_gpu"]))
    workload = Workload(kind, name, project.row["id"], row, *amounts, created=world.clock.now(), pod=pod)
    world.workloads.append(workload)
    item.workload = workload
    return workload


async def place(world: World, workload: Workload) -> float:
    """Wait until the user's limits have room for it, and take that; returns when on the clock it had it."""
    since = workload.created
    while exceeded(world, workload.row):
        await asyncio.sleep(WAIT_S)
        since = world.clock.now()
    workload.status = "starting"
    return since


async def launch(world: World, project: Project, workload: Workload, script: str, own: Mapping[str, str]) -> None:
    """Start its script; `own` is the environment of the application, or of job and run."""
    settings = world.settings
    await workload.pod.start(
        settings.python,
        below(script),
        project.folder,
        environment(world, project, workload, own),
        held=settings.app_port_held and workload.kind == "Application",
    )
    workload.status = "running"


def environment(world: World, project: Project, workload: Workload, own: Mapping[str, str]) -> dict[str, str]:
    """What a process of the pod sees: the site's, then the project's, then its own variables win."""
    pod = workload.pod
    key = next(name for name, one in world.keys.items() if "API" in one.audiences)
    url = f"http://{world.domain}"
    told = {name: os.environ[name] for name in _KEPT if name in os.environ}
    told |= {
        "HOME": str(project.folder),
        "CDSW_DOMAIN": world.domain,
        "CDSW_API_URL": f"{url}/api/v1",
        "CDSW_PROJECT_URL": f"{url}/api/v1/projects/{project.number}",
        "CDSW_PROJECT_ID": project.row["id"],
        "CDSW_PROJECT": project.row["slug"],
        "CDSW_PROJECT_NUM": str(project.number),
        "CDSW_APIV2_KEY": key,
        "CDSW_ENGINE_ID": pod.engine,
        "CDSW_ENGINE_TYPE": workload.kind.lower(),
        "CDSW_IP_ADDRESS": pod.address,
        "CDSW_APP_PORT": str(pod.ports.app),
        "CDSW_READONLY_PORT": str(pod.ports.readonly),
        "CDSW_PUBLIC_PORT": str(pod.ports.public),
        "CDSW_CPU_MILLICORES": str(int(workload.cpu * 1000)),
        "CDSW_MEMORY_MB": str(int(workload.memory * 1024)),
        "HADOOP_USER_NAME": project.row["creator"]["username"],
        "ML_RUNTIME_EDITOR": "Workbench",
        "ML_RUNTIME_KERNEL": "Python 3.11",
        "PIP_USER": "1",
    }
    for other in world.workloads:
        if other.status in {"starting", "running"} and other.project == workload.project:
            name = f"DS_RUNTIME_{other.pod.engine.upper()}_SERVICE_PORT"
            told |= {f"{name}_APP": str(other.pod.ports.app), f"{name}_READ_ONLY": str(other.pod.ports.readonly)}
    return {**told, **world.settings.environment, **project.environment, **own}


async def finish(world: World, workload: Workload, status: str) -> None:
    """End its processes and give its place back."""
    await workload.pod.stop()
    if workload.finished is None:
        workload.status, workload.finished = status, world.clock.now()


def job_of(project: Project, job: str) -> Job:
    """One by its id.

    Raises:
        Refused: there is none.
    """
    if job not in project.jobs:
        raise replies.absent(f"job {job}")
    return project.jobs[job]
