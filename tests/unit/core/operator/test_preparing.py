"""Preparing nodes by a job, against a dashboard that only remembers."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
from tests.unit.core.operator.conftest import Open, Shown

from rayllm import Cluster, DeploymentError, InputError
from rayllm.cluster.jobs_api import MODULE, entrypoint
from rayllm.deployment.apply import up
from rayllm.deployment.preparing import NotPreparedError, prepare, pull
from rayllm.errors import ClusterError
from rayllm.testing.fake_dashboard import FakeDashboard

ENVIRONMENT = {"step": "environment", "done": "toy-cpu-1", "version": "1.0", "free": "64 GB"}
WEIGHTS = {"step": "weights", "done": "/weights", "size": "93 MB", "free": "63 GB"}
END = {"end": 0, "words": ""}


def node(name: str, **resources: float) -> dict[str, Any]:
    """A node as the dashboard lists it."""
    return {"node_id": name, "state": "ALIVE", "node_ip": f"ip-{name}", "resources_total": {"CPU": 4, **resources}}


def log(*lines: dict[str, Any]) -> str:
    """What a job prints, with what others print between."""
    return "Running entrypoint\n" + "".join(json.dumps(line) + "\nnoise\n" for line in lines)


def ready(place: str, model: str) -> list[dict[str, Any]]:
    """What a node says that has all of a model."""
    return [{"node": place, "model": model, **part} for part in (ENVIRONMENT, WEIGHTS)]


def told(dashboard: FakeDashboard, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What each job is told from now on."""
    found: list[dict[str, Any]] = []
    answer = dashboard.jobs.answer

    def remember(method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        if method == "POST" and path == "/api/jobs/":
            found.append(json.loads(body))
        return answer(method, path, body)

    monkeypatch.setattr(dashboard.jobs, "answer", remember)
    return found


def nodes_of(job: dict[str, Any]) -> dict[str, list[str]]:
    """The models that each node is to be prepared for."""
    asked = json.loads(shlex.split(job["entrypoint"])[-1])
    return {name: [model["model"] for model in one["models"]] for name, one in asked["nodes"].items()}


def test_the_command_of_a_job() -> None:
    """Ray's own Python, found by what the job's parent has loaded; what is told is one word of the shell."""
    command = entrypoint("some.module", {"n1": {"text": "it's $HOME"}})
    assert "/proc/$PPID/maps" in command
    words = shlex.split(command)
    assert words[-4:-1] == ["$p", "-m", MODULE]
    assert json.loads(words[-1]) == {"module": "some.module", "nodes": {"n1": {"text": "it's $HOME"}}}


def test_each_node_gets_what_it_could_hold(
    dashboard: FakeDashboard, opened: Open, cluster: Cluster, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code is uploaded, every line is told, the result says how it is; the job is forgotten afterwards."""
    jobs = told(dashboard, monkeypatch)
    dashboard.nodes = [node("n1"), node("n2", GPU=2), {**node("dead"), "state": "DEAD"}]
    session = opened(
        """
        name: demo
        models:
          small: {engine: toy, source: /w}
          large: {engine: toy, source: /w, resources: {gpus: 2}}
        """
    )
    lines = [
        {"node": "n1", "model": "small", "step": "environment", "detail": "building toy-cpu-1"},
        *ready("n1", "small"),
        *ready("n2", "small"),
        *ready("n2", "large"),
        {"node": "n1", **END},
        {"node": "n2", **END},
    ]
    dashboard.jobs.log = log(*lines)
    found = prepare(session, cluster, ["small", "large"], shown)
    assert nodes_of(jobs[0]) == {"n1": ["small"], "n2": ["small", "large"]}
    assert {(one.node, one.model, one.state, one.size, one.free) for one in found} == {
        ("n1", "small", "ready", "93 MB", "63 GB"),
        ("n2", "small", "ready", "93 MB", "63 GB"),
        ("n2", "large", "ready", "93 MB", "63 GB"),
    }
    assert "· ip-n1 (n1) small environment: building toy-cpu-1" in shown.lines
    assert "✔ ip-n2 (n2) large weights: 93 MB · 63 GB free" in shown.lines
    (uri,) = jobs[0]["runtime_env"]["py_modules"]
    assert uri.removeprefix("gcs://") in dashboard.packages
    assert dashboard.jobs.told == {}
    assert "num_gpus" not in str(jobs[0])


def test_every_failure_is_told_with_its_node(
    dashboard: FakeDashboard, opened: Open, cluster: Cluster, shown: Shown
) -> None:
    """Cause and cure as the node gave them; a node that was lost is a failure, too."""
    dashboard.nodes = [node("n1"), node("n2")]
    error = {"message": "uv pip install failed", "cause": "No solution found", "cure": "look", "topic": "t"}
    dashboard.jobs.log = log(
        {"node": "n1", "model": "small", "step": "environment", "error": error},
        *ready("n1", "large"),
        {"node": "n1", "end": 1, "words": "stray"},
        {"node": "n2", "model": "small", **ENVIRONMENT},
        {"node": "n2", "end": 1, "words": "the node was lost: it died"},
    )
    with pytest.raises(NotPreparedError) as caught:
        prepare(opened(), cluster, ["small", "large"], shown)
    said = str(caught.value)
    assert "✘ small on ip-n1 (n1)  uv pip install failed\n  cause  No solution found\n  do     look" in said
    assert said.count("the node was lost: it died") == 2
    assert said.endswith("3 of 4 preparations failed")


def test_a_job_that_ends_without_a_word_is_an_error(
    dashboard: FakeDashboard, opened: Open, cluster: Cluster, shown: Shown
) -> None:
    """Ray's message, and what it printed last."""
    dashboard.nodes = [node("n1")]
    dashboard.jobs.status, dashboard.jobs.log = "FAILED", "Running entrypoint\nModuleNotFoundError: no ray\n"
    with pytest.raises(ClusterError, match="ended before 1 of 1 nodes were through") as caught:
        prepare(opened(), cluster, ["small"], shown)
    assert "as it was told" in str(caught.value.cause)
    assert "ModuleNotFoundError: no ray" in str(caught.value.cause)


def test_ctrl_c_stops_the_job(
    dashboard: FakeDashboard, opened: Open, cluster: Cluster, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And waits until it has stopped."""
    dashboard.nodes = [node("n1")]
    dashboard.jobs.status = "RUNNING"

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rayllm.deployment.node_jobs.time.sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        prepare(opened(), cluster, ["small"], shown)
    assert len(dashboard.jobs.stopped) == 1
    assert dashboard.jobs.told == {}


def test_a_line_that_is_half_there_is_read_once_it_is_whole(
    dashboard: FakeDashboard, opened: Open, cluster: Cluster, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log grows between two looks, anywhere."""
    dashboard.nodes = [node("n1")]
    whole = log(*ready("n1", "small"))
    whole += json.dumps({"node": "n1", **END})
    dashboard.jobs.status, cut = "RUNNING", whole.index("toy-cpu")
    dashboard.jobs.log = whole[:cut]

    def grow(seconds: float) -> None:
        dashboard.jobs.status, dashboard.jobs.log = "SUCCEEDED", whole

    monkeypatch.setattr("rayllm.deployment.node_jobs.time.sleep", grow)
    (found,) = prepare(opened(), cluster, ["small"], shown)
    assert (found.state, found.environment) == ("ready", "toy-cpu-1")


def test_what_no_node_could_hold(dashboard: FakeDashboard, opened: Open, cluster: Cluster, shown: Shown) -> None:
    """There is nothing to prepare, which is no success."""
    dashboard.nodes = [node("n1")]
    text = "name: demo\nmodels: {big: {engine: toy, source: /w, resources: {gpus: 8}}}"
    with pytest.raises(DeploymentError, match="no node of the cluster could hold big"):
        prepare(opened(text), cluster, ["big"], shown)


def test_pull_knows_the_files_models(dashboard: FakeDashboard, opened: Open, shown: Shown) -> None:
    """Another name is a mistake, with the nearest."""
    with pytest.raises(InputError, match="no model 'smal'; did you mean \"small\""):
        pull(opened(), ["smal"], shown, weights=True)
    assert dashboard.asked == []


def test_up_goes_on_where_the_cluster_takes_no_jobs(
    dashboard: FakeDashboard, opened: Open, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its replicas prepare themselves; why is told."""
    dashboard.nodes = [node("n1", GPU=2)]
    dashboard.jobs.status = "FAILED"

    def stop(config: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    session = opened("name: demo\nmodels: {large: {engine: toy, source: /w, resources: {gpus: 2}}}")
    monkeypatch.setattr(session, "deploy", lambda _, config: stop(config))
    with pytest.raises(KeyboardInterrupt):  # it got as far as this
        up(session, shown)
    (line,) = [line for line in shown.lines if "preparation" in line]
    assert "left to the replicas: the job rayllm-demo-" in line
    assert "as it was told" in line


@pytest.mark.parametrize(("pull", "models"), [(False, [["large"]]), (True, [["small", "large"]])])
def test_up_prepares_what_holds_gpus(
    dashboard: FakeDashboard,
    opened: Open,
    shown: Shown,
    monkeypatch: pytest.MonkeyPatch,
    *,
    pull: bool,
    models: list[list[str]],
) -> None:
    """Before anything is deployed: where it fails, nothing has changed; with `pull`, all that starts."""
    jobs = told(dashboard, monkeypatch)
    dashboard.nodes = [node("n1", GPU=2)]
    dashboard.snapshot = {"replicas": {}, "gateways": {}, "failures": {}}
    error = {"message": "no space", "cause": "", "cure": "", "topic": ""}
    dashboard.jobs.log = log({"node": "n1", "model": "large", "step": "weights", "error": error}, {"node": "n1", **END})
    session = opened(
        """
        name: demo
        models:
          small: {engine: toy, source: /w}
          large: {engine: toy, source: /w, resources: {gpus: 2}}
        """
    )
    with pytest.raises(NotPreparedError):
        up(session, shown, pull=pull)
    assert [list(nodes_of(job)["n1"]) for job in jobs] == models
    assert dashboard.serve.told == {}
