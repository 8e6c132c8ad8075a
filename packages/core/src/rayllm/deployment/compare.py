"""Comparing a file with what runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rayllm.deployment.plan import Plan
from rayllm.deployment.proposal import propose
from rayllm.deployment.telling import telling
from rayllm.events import PlanMade

if TYPE_CHECKING:
    from rayllm.deployment.session import Session


def compare(session: Session) -> Plan:
    """What `up` would do; changes nothing.

    Raises:
        ClusterError: the cluster can't be asked.
    """
    with telling(session, "plan") as tell:
        cluster = session.find()
        proposal = propose(session, cluster)
        unsure = f"the cluster is {cluster.state}: {cluster.reason}" if cluster and cluster.state != "ready" else ""
        found = Plan(
            name=session.name,
            changes=proposal.changes,
            misfits=proposal.misfits + proposal.refusals,
            memory=proposal.memory,
            unsure=unsure,
        )
        changes = {change.name: change.kind for change in found.changes}
        tell(PlanMade(deployment=session.name, changes=changes, stops=tuple(found.stops)))
        return found
