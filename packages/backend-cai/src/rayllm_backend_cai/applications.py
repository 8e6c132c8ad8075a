"""The applications of a cluster: what each is made with, and which belong to it. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from rayllm_backend_cai import shared
from rayllm_backend_cai.api.records import Application, NewApplication
from rayllm_backend_cai.shared import Shape, Wanted


def head_application(wanted: Wanted) -> NewApplication:
    """The application with Ray's head and the gateway."""
    told = {shared.TASK: "head", shared.NODE: shared.head_name(wanted.name)}
    return _application(wanted, wanted.head, told, wanted.subdomain, bypass=wanted.bypass_authentication)


def worker_application(wanted: Wanted, group: str, number: int) -> NewApplication:
    """A worker's application; its address serves nothing but its own health."""
    name = shared.worker_name(wanted.name, group, number)
    told = {shared.TASK: "worker", shared.NODE: name, shared.GROUP: group}
    return _application(wanted, wanted.groups[group], told, name)


def of_cluster(applications: Iterable[Application], cluster: str) -> list[Application]:
    """Those that are nodes of this cluster, by what they were made with: names alone may be another's."""
    return [one for one in applications if one.environment.get(shared.CLUSTER) == cluster]


def group_of(application: Application) -> str:
    """The group of a worker; empty for the head."""
    return application.environment.get(shared.GROUP, "")


def _application(
    wanted: Wanted, shape: Shape, told: dict[str, str], subdomain: str, *, bypass: bool = False
) -> NewApplication:
    environment = {
        shared.CLUSTER: wanted.name,
        shared.CODE_DIGEST: wanted.code,
        shared.SERVING_DIGEST: wanted.serving,
        shared.POLLING: shared.HEALTH,
        **told,
    }
    return NewApplication(
        name=told[shared.NODE],
        subdomain=subdomain,
        script=str(shared.RUN),
        runtime_identifier=shape.runtime,
        description=f"RayLLM: {told[shared.TASK]} of {wanted.name}",
        cpu=shape.cpus,
        memory=shape.memory,
        nvidia_gpu=shape.gpus,
        accelerator_label_id=shape.accelerator_label,
        bypass_authentication=bypass,
        environment=environment,
    )
