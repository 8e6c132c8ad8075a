"""The applications of a cluster: what each is made with, and which belong to it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone

from rayllm_backend_cai import shared
from rayllm_backend_cai.api.records import Application, NewApplication
from rayllm_backend_cai.shared import Shape, Wanted

ENDED = frozenset({"stopped", "failed"})
OVER = ENDED | {"stopping"}
"""States from which none comes back by itself."""
_NEVER = datetime.max.replace(tzinfo=timezone.utc)


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


def precedence(application: Application) -> tuple[bool, datetime, str]:
    """Of several with one name the first in this order stays: the oldest that is not over.

    Not the one that runs: who looks earlier and who looks later would each remove the other's.
    """
    return application.status in OVER, application.created_at or _NEVER, application.id


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
        script=str(shared.run_script(wanted.code)),
        runtime_identifier=shape.runtime,
        description=f"RayLLM: {told[shared.TASK]} of {wanted.name}",
        cpu=shape.cpus,
        memory=shape.memory,
        nvidia_gpu=shape.gpus,
        accelerator_label_id=shape.accelerator_label,
        bypass_authentication=bypass,
        environment=environment,
    )
