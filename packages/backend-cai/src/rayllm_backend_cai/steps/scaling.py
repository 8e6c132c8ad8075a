"""Another number of nodes in a group: written down for the head, which makes and drains them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from rayllm import Cluster, ClusterError, Progress
from rayllm.cluster.connection import UnreachableError
from rayllm.cluster.serve_api import ServeApi
from rayllm_backend_cai.applications import group_of
from rayllm_backend_cai.shared import Wanted
from rayllm_backend_cai.steps.draining import draining
from rayllm_backend_cai.steps.keeper_words import keeper_words
from rayllm_backend_cai.steps.nodes import Place
from rayllm_backend_cai.steps.the_head import require_head
from rayllm_backend_cai.steps.waiting import until
from rayllm_backend_cai.steps.wanted_file import WantedFile, changed_meanwhile

SCALE_S = 1800.0
"""Seconds that it may take: replicas on a node that is too much finish their requests first."""
_SELDOM = 5
"""Looks at the nodes for each at what the head says of them."""


@dataclass(frozen=True)
class Scaling:
    """One change."""

    place: Place
    wanted: Wanted
    progress: Progress

    def to(self, cluster: Cluster, group: str, count: int) -> None:
        """Make it, and return when the group has exactly so many nodes, all alive in Ray.

        Raises:
            ClusterError: somebody else has changed what the cluster should be, or the head has ended. Or it takes too
                long; the head goes on.
        """
        before = self.wanted.groups[group]
        after = before.model_copy(update={"min": count, "max": count})
        changed = self.wanted.model_copy(update={"groups": {**self.wanted.groups, group: after}})
        file = WantedFile(self.place.client, self.place.project, self.place.name)
        file.write(changed, self.wanted)
        told, words, looks = "nothing seen yet", "", itertools.count(1)

        def look() -> bool | None:
            nonlocal told, words
            there = self.place.applications()
            require_head(self.place, there)
            workers = [one for one in there if group_of(one) == group]
            names = {one.name for one in workers}
            try:
                joined = len(names & {node.name for node in api.nodes() if node.state == "alive"})
                going = draining(self.place, workers, api) if len(names) > count else []
            except UnreachableError as error:
                joined, told = -1, error.message
            else:
                told = "; ".join([f"{group}: {joined} joined, {len(names)} applications, {count} wanted", *going])
            if len(names) == count == joined:
                return True
            if next(looks) % _SELDOM == 0:
                words = "".join(f"; {line}" for line in keeper_words(self.place))
            self.progress("nodes", f"{told}{words}")
            now = file.read()
            if now is None or now.groups.get(group) != after:
                raise changed_meanwhile(cluster.name)
            return None

        def late() -> ClusterError:
            return ClusterError(
                f"{group} of {cluster.name} has not {count} nodes after {SCALE_S / 60:g} minutes",
                cause="\n".join([told, *keeper_words(self.place)]),
                cure="the head goes on with it; what stands in its way is in its log: "
                f"rayllm nodes logs {cluster.name}",
                topic="cai-application",
            )

        with ServeApi.of(cluster) as api:
            until(look, SCALE_S, late)
        self.progress("nodes", f"{group} has {count}", done=True)
