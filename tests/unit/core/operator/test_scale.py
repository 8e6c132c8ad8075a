"""Another number of replicas: one number changes in Serve's config, and nothing else."""

from __future__ import annotations

from copy import deepcopy

import pytest
from tests.unit.core.operator.conftest import MemoryBackend, Open, Shown

from rayllm.api import RayLLM
from rayllm.cluster.bundle import Bundle
from rayllm.deployment import proposal, watch
from rayllm.errors import ClusterError, DeploymentError, InputError
from rayllm.testing.fake_dashboard import App, FakeDashboard

OTHER = {"name": "guest", "route_prefix": "/guest", "import_path": "g:app", "deployments": [{"name": "d"}]}
RANGE = "name: demo\nmodels: {small: {engine: toy, source: file:/w, replicas: {min: 0, max: 4}}}"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, dashboard: FakeDashboard) -> None:
    """Polls make no pause, code is a package of nothing, and there are eight cores."""
    monkeypatch.setattr(proposal, "build", lambda _: Bundle("rayllm-0.zip", b""))
    monkeypatch.setattr(watch, "POLL_S", 0)
    dashboard.nodes = [{"node_id": "n1", "state": "ALIVE", "resources_total": {"CPU": 8.0}}]


def test_one_number_changes(opened: Open, dashboard: FakeDashboard, shown: Shown) -> None:
    """The model's other values, the other models and other people's applications stay; the plan tells, up resets."""
    llm = RayLLM(opened())
    llm.up()
    dashboard.serve.told["guest"] = OTHER
    before = deepcopy(dashboard.serve.told)
    assert llm.scale("small", 3, shown).models["small"].running == 3
    before["demo--small"]["deployments"][0]["num_replicas"] = 3
    assert dashboard.serve.told == before
    assert shown.lines[-1] == "✔ small: ready, answered a first prompt"
    assert dashboard.holder is None
    (change,) = [change for change in llm.plan().changes if change.kind != "keep"]
    assert [(field.field, field.before, field.after) for field in change.fields] == [("replicas", 3, 1)]
    assert change.effect == "no restart"
    assert llm.up().models["small"].wanted == 1


def test_a_range_becomes_a_number(opened: Open, dashboard: FakeDashboard) -> None:
    """Until the next `up`."""
    llm = RayLLM(opened(RANGE))
    llm.up()
    llm.scale("small", 2)
    options = dashboard.serve.told["demo--small"]["deployments"][0]
    assert (options["num_replicas"], "autoscaling_config" in options) == (2, False)
    assert [change.effect for change in llm.plan().changes] == ["no restart", ""]


def test_it_waits_until_so_many_run(opened: Open, dashboard: FakeDashboard) -> None:
    """Serve's word that all is well is not enough."""
    llm = RayLLM(opened())
    llm.up()
    runs = {"state": "RUNNING", "node_id": "n1", "start_time_s": 0.0}
    dashboard.serve.does["demo--small"] = App(replicas=[runs])
    ready = {"model": "small", "replica": "r1", "node": "n1", "phase": "ready", "detail": "", "since": 1.0, "log": "l"}
    dashboard.snapshot = {"replicas": [ready], "failures": {}, "past": {}}
    told: list[str] = []

    def arrive(step: str, detail: str, *, done: bool = False) -> None:
        if step == "small" and not done:
            dashboard.serve.does["demo--small"] = App(replicas=[runs, runs])
        told.append(f"{step}: {detail}")

    assert llm.scale("small", 2, arrive).models["small"].running == 2
    assert told == ["small: starting replicas (1/2 ready)", "small: ready, answered a first prompt"]


def test_what_can_not_be(opened: Open, dashboard: FakeDashboard) -> None:
    """No such model, none at all, not deployed, no room: nothing is changed."""
    llm = RayLLM(opened())
    with pytest.raises(InputError, match=r"no model 'smal'; did you mean \"small\""):
        llm.scale("smal", 1)
    with pytest.raises(InputError, match="can't have 0 replicas"):
        llm.scale("small", 0)
    with pytest.raises(ClusterError, match="small is not deployed\n  do     deploy what the file says: rayllm up"):
        llm.scale("small", 2)
    llm.up()
    before = deepcopy(dashboard.serve.told)
    text = "8 replicas of small don't fit: each needs 1 CPU core, and beside what else runs the nodes have room for 7"
    with pytest.raises(DeploymentError, match=text):
        llm.scale("small", 8)
    assert dashboard.serve.told == before
    assert llm.scale("small", 7).models["small"].running == 7


def test_a_cluster_that_grows_is_not_asked_for_room(opened: Open) -> None:
    """Its nodes come when they are needed."""
    llm = RayLLM(opened("name: demo\nmodels: {small: {engine: toy, source: file:/w}}", elastic=True))
    llm.up()
    assert llm.scale("small", 50).models["small"].running == 50


def test_somebody_else_is_at_work(opened: Open, dashboard: FakeDashboard) -> None:
    """With the right to change it, or without asking for one."""
    llm = RayLLM(opened())
    assert isinstance(llm.session.backend, MemoryBackend)
    llm.up()
    dashboard.before_puts.extend([lambda _: None] * 3)
    with pytest.raises(ClusterError, match="somebody else keeps replacing what runs"):
        llm.scale("small", 2)
    dashboard.before_puts.append(lambda _: None)
    assert llm.scale("small", 2).models["small"].running == 2
    dashboard.snapshot = {"replicas": [], "failures": {}, "past": {}}
    dashboard.holder = "ann@elsewhere (pid 1)#1"
    with pytest.raises(ClusterError, match=r"demo is being changed by ann@elsewhere \(pid 1\)"):
        llm.scale("small", 3)
