"""What `up` is about to do, from the file and what the cluster reports."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.core.operator.conftest import Open

from rayllm import Cluster
from rayllm.deployment.proposal import propose
from rayllm.testing.fake_dashboard import FakeDashboard

NODE = {"node_id": "n1", "state": "ALIVE", "resources_total": {"CPU": 1.0}}


def test_before_there_is_a_cluster(opened: Open, cluster: Cluster, dashboard: FakeDashboard) -> None:
    """All is added, nobody is asked; so it is for a cluster that is not ready."""
    for nowhere in (None, replace(cluster, state="starting")):
        proposal = propose(opened(), nowhere)
        assert [(change.kind, change.name) for change in proposal.changes] == [
            ("add", "small"),
            ("add", "large"),
            ("add", "gateway"),
        ]
        assert (proposal.nodes, proposal.misfits) == ([], [])
    assert dashboard.asked == []


def test_against_a_cluster(opened: Open, cluster: Cluster, dashboard: FakeDashboard) -> None:
    """What is there, what is not, what is too much, what the file no longer has."""
    dashboard.nodes = [NODE]
    first = propose(opened(), cluster)
    assert first.apps["rayllm"]["args"]["serve_port"] == 8001
    assert first.misfits == ["all models together need 2 CPU cores; the cluster has 1 CPU core"]
    dashboard.serve.put({"applications": [*first.apps.values()], "http_options": {"port": 8123}})
    second = propose(opened("name: demo\nmodels: {small: {engine: toy, source: file:/weights/small}}"), cluster)
    assert {change.name: change.kind for change in second.changes} == {
        "small": "keep",
        "gateway": "change",
        "large": "remove",
    }
    assert second.apps["rayllm"]["args"]["serve_port"] == 8123
    assert second.misfits == []
    assert [b.name for b in second.bundles] == [b.name for b in first.bundles]


def test_a_name_that_begins_as_ours(opened: Open, cluster: Cluster, dashboard: FakeDashboard) -> None:
    """Another deployment."""
    dashboard.serve.put({"applications": [{"name": "demo-b--m", "deployments": [{"name": "engine"}]}]})
    assert {change.kind for change in propose(opened(), cluster).changes} == {"add"}
