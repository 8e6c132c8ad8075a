"""The old tool's cluster blocks as `cluster:` of RayLLM's file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from rayllm_backend_cai.migrate.old import Block
from rayllm_backend_cai.workspace import HOST, KEY

NAME = "ray-cluster"
"""Of a deployment whose old file gives it none: the old tool's applications were called so."""
GROUP = "workers"
"""The one group of workers; the old tool's own were `ray-cluster-worker-N`, so that no name is another's."""
DASHBOARD_PORT = 8265
"""Ray's own default, at which the old tool left it."""
_PORTS = "Ray's ports are chosen by RayLLM, and told to the workers: left out"
_OPENED = (
    "the old endpoint was open to whoever knew its address; this one asks for the workspace's log-in. "
    "`bypass_authentication: true` together with `gateway.keys` opens it to who has a key"
)
_MANAGEMENT = "the gateway on the head's application has the admin API: left out"
_OLDEST = 10
"""Python 3.x of the nodes, at least."""


@dataclass
class Cluster:
    """Where the new file's models run."""

    name: str
    backend: str
    options: dict[str, Any] = field(default_factory=dict)
    gpus_per_node: int | None = None
    """Of a worker; None where it is not known."""


def cluster_of(root: Block) -> Cluster:
    """What the old file's blocks describe; what has no counterpart is told."""
    local = root.block("cluster")
    name = re.sub(r"[^a-z0-9]+", "-", local.text("name").lower())[:40].strip("-") or NAME
    if "ray_cluster" in root:
        found = _of_jobs(root, name)
    elif "cai" in root:
        found = _of_launcher(root, name)
    else:
        return _of_cluster(local, name)
    for key in local.data.keys() - {"name"}:
        local.tell(key, "the models run on Cloudera AI: left out")
    return found


def _of_launcher(root: Block, name: str) -> Cluster:
    """Of a file for `launch_cluster start-cai`; what it leaves out is as that command took it."""
    cai, ray = root.block("cai"), root.block("ray")
    workers, head = cai.block("resources"), cai.block("head_resources")
    cpus, memory = workers.number("cpu") or 32, workers.number("memory") or 32
    gpus = workers.whole("num_gpus")
    gpus = 4 if gpus is None else gpus
    options = _account(cai)
    runtime = _runtime(cai)
    options["head"] = node(head.number("cpu") or cpus, head.number("memory") or memory, runtime=runtime)
    options["workers"] = workers_of(cai.whole("num_workers"), node(cpus, memory, gpus, _with_gpus(cai, runtime, gpus)))
    for port in ("port", "dashboard_port"):
        ray.tell(port, _PORTS)
    for block in (cai, workers, head, ray):
        block.end()
    return Cluster(name, "cai", options, gpus)


def _of_jobs(root: Block, name: str) -> Cluster:
    """Of a file for the jobs of `cai_integration`; what it leaves out is as they took it."""
    old, cai, environment = root.block("ray_cluster"), root.block("cai"), root.block("environment")
    gpus = old.whole("worker_gpus")
    gpus = 4 if gpus is None else gpus
    options = _account(cai)
    runtime = _runtime(cai)
    options["head"] = node(old.number("head_cpu") or 8, old.number("head_memory") or 32, runtime=runtime)
    cpus, memory = old.number("worker_cpu") or 32, old.number("worker_memory") or 32
    worker = node(cpus, memory, gpus, _with_gpus(cai, runtime, gpus))
    options["workers"] = workers_of(old.whole("num_workers"), worker)
    for port in ("ray_port", "dashboard_port"):
        old.tell(port, _PORTS)
    old.tell("management_api_port", _MANAGEMENT)
    for word in ("management_api_cpu", "management_api_memory"):
        cai.tell(word, _MANAGEMENT)
    cai.tell("repository", "the nodes' code comes from what is installed here, not from git: left out")
    for variable in environment.data:
        environment.tell(variable, "jobs and applications get no variables of one's own: set it for the whole project")
    for block in (old, cai):
        block.end()
    return Cluster(name, "cai", options, gpus)


def _of_cluster(old: Block, name: str) -> Cluster:
    """Of a file for a Ray cluster on this machine, or at an address."""
    resources, dashboard = old.block("resources"), old.block("dashboard")
    cpus, gpus = resources.whole("num_cpus", least=1), resources.whole("num_gpus")
    address = old.text("ray_address")
    old.tell("port", _PORTS)
    old.tell("block", "the cluster runs in the background: left out")
    resources.tell("object_store_memory", "Ray chooses it: left out")
    dashboard.tell("enabled", "Ray's dashboard is always there, for who has the cluster's token: left out")
    dashboard.tell("port", _PORTS)
    for block in (old, resources, dashboard):
        block.end()
    if url := dashboard_of(address):
        old.tell("ray_address", f"RayLLM asks Ray's dashboard, {url}: look whether it listens there")
        return Cluster(name, "ray", {"address": url})
    options = {word: value for word, value in (("cpus", cpus), ("gpus", gpus)) if value is not None}
    if address:
        old.tell("ray_address", "a cluster of RayLLM's own on this machine; for one that is there: `backend: ray`")
    return Cluster(name, "local", options)


def dashboard_of(address: str) -> str:
    """Where the dashboard of the cluster at an address of Ray's should be; empty for `auto`, `local` and none."""
    if address in {"", "auto", "local"}:
        return ""
    parts = urlsplit(address if "://" in address else f"ray://{address}")
    if parts.scheme in {"http", "https"}:
        return address.rstrip("/")
    host = parts.hostname or ""
    return f"http://{f'[{host}]' if ':' in host else host}:{DASHBOARD_PORT}"


def node(cpus: float, memory: float, gpus: int = 0, runtime: str = "") -> dict[str, Any]:
    """One application; `memory` in GB, as the platform counts."""
    made: dict[str, Any] = {"cpus": cpus, "memory": f"{memory:g}GiB"}
    return made | ({"gpus": gpus} if gpus else {}) | ({"runtime": runtime} if runtime else {})


def workers_of(count: int | None, each: dict[str, Any]) -> dict[str, Any]:
    """The one group of workers there was; one worker if nothing is said."""
    return {GROUP: {"count": 1 if count is None else count, **each}}


def _account(cai: Block) -> dict[str, Any]:
    """Where the workspace is, and which project; the key stands in no file."""
    steps, options = cai.notes.steps, {}
    if host := cai.text("host"):
        options["host"] = host
    else:
        steps[f"export {HOST}=https://…"] = "the workspace's address, unless this runs inside of CAI"
    if cai.text("api_key"):
        cai.tell("api_key", f"a key stands in no file: {KEY} is read from the environment. Make a new key")
    steps[f"export {KEY}=…"] = "a key of the workspace with the audiences API and Application, unless inside of CAI"
    if project := cai.text("project_id") or cai.text("project_name"):
        options["project"] = project
    cai.notes.tell(cai.path, _OPENED)
    return options


def _runtime(cai: Block) -> str:
    """The image of head and workers; empty where RayLLM has to choose another."""
    runtime = cai.text("runtime_identifier")
    found = re.search(r"python3\.(\d+)", runtime)
    if found and int(found[1]) < _OLDEST:
        cai.tell("runtime_identifier", f"the nodes need Python 3.{_OLDEST} or later: left out, and the newest is taken")
        return ""
    return runtime


def _with_gpus(cai: Block, runtime: str, gpus: int) -> str:
    """The image of workers: one that does not say that it has CUDA is none for GPUs."""
    if gpus and runtime and not re.search(r"cuda|gpu|nvidia", runtime, re.IGNORECASE):
        cai.tell("runtime_identifier", "the head's alone now: it names no CUDA, so workers take the newest that does")
        return ""
    return runtime
