"""The engines' environments on the nodes of a cluster."""

from __future__ import annotations

from dataclasses import dataclass

from rayllm.backends import Node, Progress
from rayllm.cluster.serve_api import ServeApi
from rayllm.deployment.node_jobs import Line, NodeJob
from rayllm.deployment.proposal import code_for
from rayllm.deployment.session import Session
from rayllm.errors import ClusterError
from rayllm.machine.environments import BuiltEnvironment, EnvironmentCheck

MODULE = "rayllm.machine.on_node"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEnvironment(BuiltEnvironment):
    """One environment on one node."""

    node: str
    """Ray's id of the node."""
    address: str
    """The node's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCheck(EnvironmentCheck):
    """What a close look at one environment of one node found."""

    node: str
    """Ray's id of the node."""
    address: str
    """The node's."""


def node_environments(
    session: Session, progress: Progress, *, closely: bool = False
) -> tuple[list[NodeEnvironment], list[NodeCheck]]:
    """The environments on every node, and with `closely` what is wrong with them, in the order of the nodes.

    Raises:
        ClusterError: the cluster can't be asked, or a node did not answer.
    """
    cluster = session.find_ready()
    with ServeApi.of(cluster) as api:
        nodes = {node.id: node for node in api.nodes() if node.state == "alive"}
    found: list[NodeEnvironment] = []
    checks: list[NodeCheck] = []

    def hear(node: str, line: Line) -> None:
        address = nodes[node].address
        found.append(NodeEnvironment(**line["environment"], node=node, address=address))
        if closely:
            checks.append(NodeCheck(**line["check"], node=node, address=address))

    told = {node: {"closely": closely} for node in nodes}
    code = code_for(session, session.checked.config.models)
    broken = NodeJob(cluster=cluster, code=code, module=MODULE, nodes=told, progress=progress).run(hear)
    if broken:
        raise ClusterError("\n".join(f"{_named(nodes[node])} can't tell: {words}" for node, words in broken.items()))
    order = list(nodes)
    return sorted(found, key=lambda one: order.index(one.node)), sorted(checks, key=lambda one: order.index(one.node))


def _named(node: Node) -> str:
    return f"node {node.address} ({node.id[:6]})"
