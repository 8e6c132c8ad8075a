"""What the keeper asks of Ray: who is alive, what waits, and that a node hands its work on.

To be used in a process of its own: Ray's client ends its process when the head's records stay out of reach for long.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Literal

from ray.autoscaler.v2.sdk import ClusterResourceState, GcsClient, GetClusterResourceStateReply
from ray.core.generated.autoscaler_pb2 import DrainNodeReason, NodeState, NodeStatus
from ray.exceptions import RayError

from rayllm_backend_cai.node.groups import RayNode
from rayllm_backend_cai.node.keeper import Seen
from rayllm_backend_cai.shared import Wanted

ANSWER_S = 5.0
log = logging.getLogger("rayllm.cai.keeper")
_STATES: Mapping[int, Literal["idle", "busy", "draining"]] = {
    NodeStatus.RUNNING: "busy",
    NodeStatus.IDLE: "idle",
    NodeStatus.DRAINING: "draining",
}


class RayView:
    """A Ray cluster. Its token is where Ray's own environment variables say.

    Args:
        address: `HOST:PORT` of the head's records (GCS).
    """

    def __init__(self, address: str) -> None:
        self._gcs = GcsClient(address=address)
        self._trouble = ""

    def look(self, wanted: Wanted, workers: Mapping[str, Sequence[str]]) -> Seen | None:
        """Nodes, and what waiting work needs, where these workers, by group, are there or come; None: no answer."""
        try:
            answer = self._gcs.get_cluster_resource_state(timeout_s=ANSWER_S)
        except RayError as error:
            log.warning("Ray does not answer: %s", error)
            return None
        state: ClusterResourceState = GetClusterResourceStateReply.FromString(answer).cluster_resource_state
        nodes = {node.instance_id: _node(node) for node in state.node_states if node.status in _STATES}
        try:
            # Nothing that Ray promises to keep: with another one, groups of a fixed size are kept nevertheless.
            from rayllm_backend_cai.node.demand import needs

            more, idle = needs(state, wanted, workers)
        except Exception as error:
            if repr(error) != self._trouble:
                self._trouble = repr(error)
                log.exception("ranges stay as they are: Ray's scheduler does not say what they need")
            more, idle = {}, frozenset()
        return Seen(nodes, more, idle)

    def drain(self, node: str, reason: str, until: float, *, idle: bool) -> bool:
        """Let a node's work go elsewhere, or, if `idle`, let it go only if it has none; whether Ray does so."""
        kind = (
            DrainNodeReason.DRAIN_NODE_REASON_IDLE_TERMINATION if idle else DrainNodeReason.DRAIN_NODE_REASON_PREEMPTION
        )
        # Serve moves what is on a node that is pre-empted, and stops by the deadline what has no room elsewhere.
        deadline = 0 if idle else int(until * 1000)
        try:
            taken, why_not = self._gcs.drain_node(node, kind, reason, deadline, timeout=ANSWER_S)
        except RayError as error:
            log.warning("Ray does not drain %s: %s", node, error)
            return False
        if not taken:
            log.info("Ray does not drain %s: %s", node, why_not)
        return bool(taken)


def _node(node: NodeState) -> RayNode:
    return RayNode(node.node_id.hex(), _STATES[node.status])
