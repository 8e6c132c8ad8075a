"""All steps of a bring-up, in order."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files

from rayllm import Cluster, ClusterSpec, Progress
from rayllm_backend_cai.api import CaiClient
from rayllm_backend_cai.api.records import Application
from rayllm_backend_cai.bootstrap.code import node_code
from rayllm_backend_cai.bootstrap.requirements import Serving, serving_for
from rayllm_backend_cai.cluster_report import report
from rayllm_backend_cai.environment_job import ensure_environment
from rayllm_backend_cai.options import CaiOptions
from rayllm_backend_cai.shared import Wanted
from rayllm_backend_cai.steps.coming_up import ComingUp
from rayllm_backend_cai.steps.files import Disk
from rayllm_backend_cai.steps.keys import Ingress, ingress_of, require_keys
from rayllm_backend_cai.steps.nodes import Nodes, Place
from rayllm_backend_cai.steps.project import ensure_project
from rayllm_backend_cai.steps.wanted_file import WantedFile, stored_wanted
from rayllm_backend_cai.steps.wanting import require_same_groups, shapes, wanted_of


def bring_up(client: CaiClient, options: CaiOptions, spec: ClusterSpec, progress: Progress) -> Cluster:
    """From a key to a cluster whose nodes have all joined. What is there is taken, what is missing is made.

    Raises:
        RayllmError: a step fails; the next call goes on there.
    """
    progress("workspace", f"asking {client.workspace.url}")
    ingress = ingress_of(options, client.workspace)
    user = require_keys(client, ingress)
    progress("workspace", f"{client.workspace.url} as {user}", done=True)
    project = ensure_project(client, options, spec.name, progress)
    progress("project", f"{project.name} ({project.id})", done=True)
    place = Place(client, project.id, spec.name)
    stored = stored_wanted(client, project.id, spec.name)
    wanted, serving = lay(place, options, spec, stored, progress)
    ensure_environment(client, project.id, wanted, serving, preparation=spec.preparation, progress=progress)
    WantedFile(client, project.id, spec.name).write(wanted, stored)
    created = Nodes(place, wanted, stored, progress).ensure()
    cluster = _joined(place, wanted, ingress, progress)
    return replace(cluster, created=created and stored is None)


def lay(
    place: Place, options: CaiOptions, spec: ClusterSpec, stored: Wanted | None, progress: Progress
) -> tuple[Wanted, Serving]:
    """Have on the disk all that nodes read, but for what the cluster should be: that comes last, a head follows it."""
    code = node_code()
    found, python = shapes(place.client, options, stored)
    serving = serving_for(python)
    wanted = wanted_of(spec, options, found, code=code.digest, serving=serving.digest)
    require_same_groups(wanted, stored)
    disk = Disk(place.client, place.project)
    disk.lay_code(files("rayllm_backend_cai").joinpath("bootstrap/run.py").read_bytes(), code, progress)
    disk.lay_secrets(spec.secrets, progress)
    progress("files", "all that nodes read is there", done=True)
    return wanted, serving


def _joined(place: Place, wanted: Wanted, ingress: Ingress, progress: Progress) -> Cluster:
    """Wait for the head, for Ray, for every worker."""
    coming = ComingUp(place, wanted, progress)
    head = coming.await_head()
    records = coming.await_records()

    def now(applications: list[Application]) -> Cluster:
        return report(
            place.client.workspace, ingress, place.name, applications=applications, wanted=wanted, records=records
        )

    coming.await_ray(now([head]))
    there = coming.await_workers(now([head]))
    workers = len(there) - 1
    progress("nodes", f"the head and {workers} worker{'s' * (workers != 1)}", done=True)
    progress("cluster", "ready", done=True)
    return now(there)
