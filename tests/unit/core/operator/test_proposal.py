"""What `up` is about to do, from the file and what the cluster reports."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.unit.core.operator.conftest import Open
from tests.unit.core.test_plugins import ENGINE

from rayllm import Cluster
from rayllm.api import RayLLM
from rayllm.deployment.proposal import propose
from rayllm.plugins import Plugins
from rayllm.testing.fake_dashboard import FakeDashboard

if TYPE_CHECKING:
    from tests.unit.core.conftest import Site

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


def test_the_platform_gives_the_address(opened: Open, cluster: Cluster) -> None:
    """What the file says of it is not shown, be there a cluster or none."""
    session = opened()
    backend = replace(session.checked.backend, endpoint=lambda _, name: f"https://{name}.example.com")
    session.checked = replace(session.checked, backend=backend)
    for there in (None, cluster):
        changes = {change.name: change.summary for change in propose(session, there).changes}
        assert changes["gateway"] == "https://demo.example.com"
        assert "https" not in changes["small"]


def test_a_name_that_begins_as_ours(opened: Open, cluster: Cluster, dashboard: FakeDashboard) -> None:
    """Another deployment."""
    dashboard.serve.put({"applications": [{"name": "demo-b--m", "deployments": [{"name": "engine"}]}]})
    assert {change.kind for change in propose(opened(), cluster).changes} == {"add"}


@pytest.mark.parametrize("source", ["/weights", "~/weights"])
def test_a_path_is_no_reason_to_import_the_other_plugins(site: Site, tmp_path: Path, source: str) -> None:
    """Its source is core's own: a hundred installed plugins cost such a file nothing, a broken one isn't told of."""
    site.add("used", ENGINE + '        yield engine("good")\n', point="engine-good")
    (site.path / "rayllm_used-0.3.1.dist-info/RECORD").write_text("made_up_used.py,,\n")
    site.add("unused", "raise RuntimeError")
    (tmp_path / "rayllm.yaml").write_text(
        f"name: demo\nmodels: {{m: {{engine: good, source: '{source}'}}}}\n"
        "cluster: {backend: ray, options: {address: http://h:1}}\n"
    )
    heard: list[str] = []
    core = EntryPoint(name="core", value="rayllm.builtin", group="rayllm")
    plugins = Plugins.discover([*site.points(), core], disabled="", heard=heard.append)
    rendered = RayLLM.from_file(tmp_path / "rayllm.yaml", plugins=plugins).render()
    assert [app["name"] for app in rendered["applications"]] == ["demo--m", "demo--rayllm"]
    assert heard == []
    assert "made_up_unused" not in sys.modules
