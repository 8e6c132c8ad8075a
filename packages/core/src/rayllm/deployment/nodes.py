"""The machines of a cluster: what they do, how many there are, and what they wrote."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rayllm.deployment.node_status import node_statuses
from rayllm.deployment.session import NotReadyError
from rayllm.deployment.status import NodeStatus
from rayllm.deployment.telling import telling
from rayllm.errors import InputError

if TYPE_CHECKING:
    from rayllm.backends import Progress
    from rayllm.deployment.session import Session


class Nodes:
    """The machines of a cluster, `RayLLM.nodes`. Each call asks the cluster anew.

    `list` works with every backend, the others where the backend has the capability `nodes`.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def list(self) -> builtins.list[NodeStatus]:
        """Every node, as Ray reports it and as the platform does; also of a cluster that is not ready.

        Raises:
            ClusterError: there is no cluster, or it does not answer.
        """
        from rayllm.cluster.serve_api import ServeApi

        try:
            cluster = self._session.find_ready()
        except NotReadyError as problem:
            if not problem.nodes:
                raise
            return node_statuses(problem.nodes, [])
        with ServeApi.of(cluster) as api:
            return node_statuses(cluster.nodes, api.nodes())

    def scale(self, group: str, count: int, *, progress: Progress | None = None) -> builtins.list[NodeStatus]:
        """Set how many nodes a group has, and wait until it has them; the group's nodes then.

        The cluster is changed, the file is not: `up` sets the number back to what the file says. Replicas on a node
        that is too much finish their requests first.

        Args:
            group: as the file's `cluster.options` calls it.
            count: how many, from 0.
            progress: is told what goes on.

        Raises:
            InputError: there is no such group, or the backend has no nodes to scale.
            ClusterError: it can't be done.
        """
        if count < 0:
            raise InputError(f"{group} can't have {count} nodes", cure="0 or more")
        with telling(self._session, "nodes scale"):
            self._session.scale_nodes(group, count, progress or _unheard)
        return [node for node in self.list() if node.group == group]

    def logs(self, node: str, *, lines: int = 200) -> Iterator[str]:
        """What a node's own programs wrote, Ray's and the platform's, in pieces of text.

        Args:
            node: its name, as `list` tells it.
            lines: how many of the last lines, -1 for all.

        Raises:
            InputError: there is no such node, or the backend has no logs of nodes.
            ClusterError: it can't be asked.
        """
        return self._session.node_logs(node, lines=lines)


def _unheard(step: str, detail: str, *, done: bool = False) -> None:
    """A `Progress` that tells nobody."""
