"""What waiting work needs, and which workers of ranges have none: Ray's own autoscaler decides, by its scheduler.

Only its scheduler is used, a function from what is there to what should be. The rest of the autoscaler keeps an account
of machines, each used once: it lets an application be removed as soon as its raylet has ended, so that a head that
starts anew, to which all nodes of its last life are dead, would remove every worker of a range.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ray.autoscaler.v2.instance_manager.config import NodeTypeConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.schema import AutoscalerInstance
from ray.core.generated.autoscaler_pb2 import ClusterResourceState, NodeState, NodeStatus
from ray.core.generated.instance_manager_pb2 import Instance, NodeKind

from rayllm_backend_cai.node.ray_command import resources
from rayllm_backend_cai.shared import Wanted

HEAD = "@head"
"""No group can be called so."""
_RUNNING = (NodeStatus.RUNNING, NodeStatus.IDLE)


def needs(
    state: ClusterResourceState, wanted: Wanted, workers: Mapping[str, Sequence[str]]
) -> tuple[dict[str, int], frozenset[str]]:
    """What ranges need, where these workers, by group, are there or come.

    Returns:
        By range, how many more it should have; and the names of workers that had no work for long enough.
    """
    if not any(group.max > group.min for group in wanted.groups.values()):
        return {}, frozenset()
    reply = ResourceDemandScheduler().schedule(
        SchedulingRequest(
            disable_launch_config_check=True,
            node_type_configs=_types(wanted, workers),
            idle_timeout_s=wanted.idle_minutes * 60,
            resource_requests=state.pending_resource_requests,
            gang_resource_requests=state.pending_gang_resource_requests,
            cluster_resource_constraints=state.cluster_resource_constraints,
            current_instances=list(_instances(state, workers)),
        )
    )
    more = {one.instance_type: one.count for one in reply.to_launch if one.instance_type in wanted.groups}
    return more, frozenset(one.instance_id for one in reply.to_terminate)


def _types(wanted: Wanted, workers: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    def of(name: str, least: int, most: int, has: dict[str, float]) -> NodeTypeConfig:
        return NodeTypeConfig(
            name=name, min_worker_nodes=least, max_worker_nodes=most, resources=has, launch_config_hash=""
        )

    # Numbers of fixed groups are no business of the scheduler: it takes them as they are.
    fixed = {name: len(workers.get(name, ())) for name, group in wanted.groups.items() if group.min == group.max}
    types = {
        name: of(name, fixed.get(name, group.min), fixed.get(name, group.max), resources(group))
        for name, group in wanted.groups.items()
    }
    return {**types, HEAD: of(HEAD, 1, 1, resources(wanted.head))}


def _instances(state: ClusterResourceState, workers: Mapping[str, Sequence[str]]) -> Iterator[AutoscalerInstance]:
    """The head and the workers; those that have not joined yet count as what they will be."""
    alive = {node.instance_id: node for node in state.node_states if node.status in _RUNNING}
    for node in alive.values():
        if "node:__internal_head__" in node.total_resources:
            yield _instance(node.instance_id, HEAD, NodeKind.HEAD, node)
    for group, names in workers.items():
        for name in names:
            yield _instance(name, group, NodeKind.WORKER, alive.get(name))


def _instance(name: str, kind: str, role: NodeKind.ValueType, node: NodeState | None) -> AutoscalerInstance:
    instance = Instance(
        instance_id=name,
        cloud_instance_id=name,
        instance_type=kind,
        node_kind=role,
        node_id=node.node_id.hex() if node else "",
        status=Instance.RAY_RUNNING if node else Instance.ALLOCATED,
    )
    return AutoscalerInstance(cloud_instance_id=name, ray_node=node, im_instance=instance)
