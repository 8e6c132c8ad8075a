"""The machines of a cluster, as the platform and Ray have them: shown, scaled, and what they wrote."""

from __future__ import annotations

import asyncio
import inspect
import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.core.operator.conftest import MemoryBackend, Open, Shown

from rayllm import AsyncRayLLM, Node, PlatformNode, RayLLM
from rayllm.aio import AsyncNodes
from rayllm.cli.node_text import node_lines
from rayllm.cli.nodes import nodes_list, nodes_logs, nodes_scale
from rayllm.cli.status import status
from rayllm.cluster.bundle import Bundle
from rayllm.deployment import proposal, watch
from rayllm.deployment.node_status import node_statuses
from rayllm.deployment.nodes import Nodes
from rayllm.errors import ClusterError, DeploymentError, InputError
from rayllm.testing.fake_dashboard import App, FakeDashboard, Json

HERE = Path("rayllm.yaml")
ONE = "name: demo\nmodels: {small: {engine: toy, source: file:/w}}"
HEAD = PlatformNode(name="demo", state="running", head=True)
WORKER = PlatformNode(name="demo-gpu-1", state="running", group="gpu")


def row(name: str, state: str = "ALIVE", **more: object) -> Json:
    """As Ray lists a node."""
    return {"node_id": f"id-of-{name}", "node_name": name, "state": state, "resources_total": {"CPU": 8.0}, **more}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, dashboard: FakeDashboard) -> None:
    """Code is a package of nothing, polls make no pause; Ray has the head alone."""
    monkeypatch.setattr(proposal, "build", lambda _: Bundle("rayllm-0.zip", b"zip"))
    monkeypatch.setattr(watch, "POLL_S", 0)
    dashboard.nodes = [row("demo", is_head_node=True)]


@pytest.fixture
def llm(opened: Open, monkeypatch: pytest.MonkeyPatch) -> RayLLM:
    """On a platform that tells of its nodes; every command opens it."""
    found = RayLLM(opened(ONE, "nodes", nodes=[HEAD, WORKER]))
    monkeypatch.setattr("rayllm.cli.opening.open_file", lambda *_, **__: found)
    return found


def is_(llm: RayLLM, **fields: object) -> None:
    """Change the cluster."""
    assert isinstance(llm.session.backend, MemoryBackend)
    assert llm.session.backend.cluster
    llm.session.backend.cluster = replace(llm.session.backend.cluster, **fields)  # type: ignore[arg-type]


LOOK = "rayllm nodes logs demo-gpu-1"
COMPARED = [
    ("running", "", "alive", "", "", ""),
    ("running", "", None, "", "it runs, and has not joined Ray yet", f"wait; what it writes: {LOOK}"),
    ("running", "no head", None, "", "it runs, and has not joined Ray yet: no head", f"wait; what it writes: {LOOK}"),
    (
        "running",
        "",
        "dead",
        "missed heartbeats",
        "it runs, and Ray has lost it: missed heartbeats",
        f"it joins again by itself; what it writes: {LOOK}",
    ),
    ("starting", "", None, "", "", ""),
    ("starting", "quota", None, "", "it is starting: quota", f"wait; what it writes: {LOOK}"),
    ("starting", "quota", "alive", "", "", ""),
    ("stopping", "", "alive", "", "", ""),
    (
        "failed",
        "exit 1",
        "alive",
        "",
        "it is failed: exit 1, and Ray still has it",
        "wait a minute, until Ray gives it up; start it again: rayllm up",
    ),
    ("failed", "exit 1", "dead", "x", "it is failed: exit 1", f"what it wrote: {LOOK}; start it again: rayllm up"),
    (
        "refused",
        "quota",
        None,
        "",
        "it is refused: quota",
        "the cluster tries it again by itself; make room for it, or have fewer: rayllm nodes scale",
    ),
    ("stopped", "", None, "", "it is stopped", f"what it wrote: {LOOK}; start it again: rayllm up"),
]


@pytest.mark.parametrize(("platform", "reason", "ray", "words", "cause", "cure"), COMPARED)
def test_what_the_two_disagree_on(
    *, platform: str, reason: str, ray: str | None, words: str, cause: str, cure: str
) -> None:
    """With why and what to do; nothing where they agree, or where one of them is a moment behind."""
    nodes = [Node(id="n1", state=ray, reason=words, name="demo-gpu-1")] if ray else []
    _, found, *_ = node_statuses([HEAD, replace(WORKER, state=platform, reason=reason)], nodes)
    assert (found.cause, found.cure) == (cause, cure)
    assert (found.platform, found.state, found.id) == (platform, ray or "missing", "n1" if ray else "")
    assert (found.name, found.group, found.head) == ("demo-gpu-1", "gpu", False)


@pytest.mark.parametrize(
    ("head", "word", "cure"),
    [("failed", "failed", "rayllm up"), ("starting", "starting", "wait"), ("", "not there", "rayllm up")],
)
def test_a_worker_without_a_head(head: str, word: str, cure: str) -> None:
    """Is not on its way: there is nothing to join."""
    *_, found = node_statuses([*([replace(HEAD, state=head)] if head else []), WORKER], [])
    assert (found.cause, found.cure) == (f"it runs, and has no head to join: that is {word}", cure)


def test_earlier_lives_are_left_out() -> None:
    """Of a node and of those that the platform no longer has; a stranger that lives is told."""
    dead = [Node(id=f"d{number}", state="dead", name="demo") for number in range(2)]
    gone = Node(id="g", state="dead", name="demo-gpu-9")
    stranger = Node(id="s", state="alive", name="10.0.0.9")
    alive = Node(id="a", state="alive", name="demo", head=True)
    found = node_statuses([HEAD], [dead[0], alive, dead[1], gone, stranger])
    assert [node.id for node in found] == ["a", "s"]
    assert [node.cause for node in found] == ["", "Ray has it, the platform does not"]
    assert [node.id for node in node_statuses([HEAD], dead)] == ["d1"]
    assert [node.id for node in node_statuses([], [*dead, gone])] == ["d0", "d1", "g"]


def test_status_shows_both(llm: RayLLM, dashboard: FakeDashboard, capsys: pytest.CaptureFixture[str]) -> None:
    """Side by side, and what is wrong below; for programs, too."""
    dashboard.nodes.append(row("demo-gpu-1", "DEAD", state_message="lost"))
    llm.up()
    capsys.readouterr()
    status(HERE)
    assert capsys.readouterr().out.splitlines()[3:] == [
        "NODE        GROUP  PLATFORM  RAY    RESOURCES",
        "demo        head   running   alive  8 CPU cores",
        "demo-gpu-1  gpu    running   dead   -",
        f"  demo-gpu-1: it runs, and Ray has lost it: lost   → it joins again by itself; what it writes: {LOOK}",
    ]
    status(HERE, json=True)
    head, worker = json.loads(capsys.readouterr().out)["nodes"]
    assert (head["platform"], head["id"], worker["platform"], worker["state"]) == (
        "running",
        "id-of-demo",
        "running",
        "dead",
    )


def test_status_of_a_platform_that_tells_nothing(llm: RayLLM, capsys: pytest.CaptureFixture[str]) -> None:
    """As ever: models alone."""
    is_(llm, nodes=())
    llm.up()
    capsys.readouterr()
    status(HERE)
    assert "NODE" not in capsys.readouterr().out


def test_a_cluster_that_is_not_ready(llm: RayLLM, capsys: pytest.CaptureFixture[str]) -> None:
    """Its nodes are told before the error, by whatever needs the cluster; `nodes list` has them as its result."""
    is_(llm, nodes=[replace(HEAD, state="failed", reason="exit 1"), WORKER], state="failed", reason="the head ended")
    with pytest.raises(ClusterError) as caught:
        status(HERE)
    assert str(caught.value).splitlines()[:4] == [
        "demo        failed: exit 1",
        "demo-gpu-1  running",
        "the cluster of demo is failed",
        "  cause  the head ended",
    ]
    nodes_list(HERE)
    assert "demo        head   failed    missing\n" in capsys.readouterr().out
    is_(llm, nodes=())
    with pytest.raises(ClusterError, match=r"^the cluster of demo is failed"):
        nodes_list(HERE)


def test_list_with_any_backend(
    opened: Open, monkeypatch: pytest.MonkeyPatch, dashboard: FakeDashboard, capsys: pytest.CaptureFixture[str]
) -> None:
    """What Ray has, dead ones with their reason; a column that says nothing is left out."""
    monkeypatch.setattr("rayllm.cli.opening.open_file", lambda *_, **__: RayLLM(opened(ONE)))
    dashboard.nodes = [row("", is_head_node=True, node_ip="10.0.0.1"), row("10.0.0.2", "DEAD", state_message="lost")]
    nodes_list(HERE)
    assert capsys.readouterr().out.splitlines() == [
        "NODE      GROUP  RAY    ADDRESS   RESOURCES",
        "id-of-    head   alive  10.0.0.1  8 CPU cores",
        "10.0.0.2  -      dead   -         -",
        "  10.0.0.2: lost",
    ]
    nodes_list(HERE, json=True)
    assert [node["state"] for node in json.loads(capsys.readouterr().out)] == ["alive", "dead"]
    assert list(node_lines([])) == []


def test_scale(llm: RayLLM, dashboard: FakeDashboard, shown: Shown, capsys: pytest.CaptureFixture[str]) -> None:
    """The backend does it; the group's nodes are the result."""
    dashboard.nodes += [row("gpu-1"), row("gpu-2")]
    assert [(node.name, node.state) for node in llm.nodes.scale("gpu", 2, progress=shown)] == [
        ("gpu-1", "alive"),
        ("gpu-2", "alive"),
    ]
    assert shown.lines == ["✔ nodes: gpu has 2"]
    nodes_scale("gpu", 1, HERE)
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "gpu has 1 node"
    assert "rayllm up sets it back to what rayllm.yaml says" in err
    nodes_scale("gpu", 0, HERE, json=True)
    assert json.loads(capsys.readouterr().out) == []
    assert isinstance(llm.session.backend, MemoryBackend)
    assert llm.session.backend.scaled == [("gpu", 2), ("gpu", 1), ("gpu", 0)]
    with pytest.raises(InputError, match="gpu can't have -1 nodes"):
        llm.nodes.scale("gpu", -1)


def test_scale_is_cut(llm: RayLLM, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What the platform was told goes on."""

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(llm.session.backend, "scale", cut)
    with pytest.raises(KeyboardInterrupt):
        nodes_scale("gpu", 2, HERE)
    assert "goes on: rayllm nodes list" in capsys.readouterr().err


def test_logs(llm: RayLLM, capsys: pytest.CaptureFixture[str]) -> None:
    """In pieces, as they come."""
    nodes_logs("demo-gpu-1", HERE, lines=5)
    assert capsys.readouterr().out == "demo demo-gpu-1\n5 lines\n"


def test_a_backend_that_has_none(opened: Open) -> None:
    """Refused at once, with what helps."""
    nodes = RayLLM(opened(ONE)).nodes
    with pytest.raises(InputError, match=r"the backend local adds and removes no nodes\n  do     nodes come and go by"):
        nodes.scale("gpu", 2)
    with pytest.raises(InputError, match=r"the backend local keeps no logs of nodes\n  do .* rayllm logs MODEL"):
        nodes.logs("x")


def test_a_cure_names_the_command(opened: Open, dashboard: FakeDashboard) -> None:
    """Where the backend has it."""
    large = RayLLM(opened(ONE.replace("file:/w", "file:/w, resources: {cpus: 9}"), "nodes"))
    with pytest.raises(DeploymentError, match="or add nodes: rayllm nodes scale GROUP COUNT"):
        large.up()
    small = RayLLM(opened(ONE, "nodes"))
    small.up()
    with pytest.raises(DeploymentError, match="or add nodes: rayllm nodes scale GROUP COUNT"):
        small.scale("small", 9)


def test_what_waits_on_a_cluster_that_grows(opened: Open, dashboard: FakeDashboard) -> None:
    """Is told to wait for a node."""
    grows = RayLLM(opened(ONE.replace("file:/w", "file:/w, resources: {cpus: 9}"), elastic=True))
    grows.up()
    waits = {"state": "STARTING", "node_id": None, "start_time_s": 0.0}
    dashboard.serve.does["demo--small"] = App("DEPLOYING", replicas=[waits])
    assert grows.model_status("small").cure.startswith("wait: a node comes for it")


def test_asynchronously(llm: RayLLM) -> None:
    """The same methods, as coroutines."""
    names = [name for name in vars(Nodes) if not name.startswith("_")]
    assert names == [name for name in vars(AsyncNodes) if not name.startswith("_")]
    for name in names:
        both = [inspect.signature(getattr(kind, name)).parameters for kind in (Nodes, AsyncNodes)]
        assert list(both[0]) == list(both[1])

    async def live() -> list[str]:
        nodes = AsyncRayLLM(llm.session).nodes
        assert [node.name for node in await nodes.list()] == ["demo", "demo-gpu-1"]
        assert len(await nodes.scale("gpu", 2)) == 2
        return [text async for text in nodes.logs("gpu-2", lines=-1)]

    assert asyncio.run(live()) == ["demo gpu-2\n", "-1 lines\n"]


def test_what_nodes_can_be_prepared_with(opened: Open, shown: Shown) -> None:
    """For a backend that wants it alone: the models whose environment is built, and the code for that."""
    text = (
        "name: demo\ngateway: {keys: required}\nmodels:\n"
        "  a: {engine: toy, source: file:/a, options: {size: 3}}\n"
        "  b: {engine: toy, source: file:/b, environment: current}\n"
        "  c: {engine: toy, source: file:/c, environment: /opt/bin/python}\n"
    )
    session = opened(text, "prepares", environ={"RAYLLM_API_KEY": "k"})
    session.ensure(shown)
    assert isinstance(session.backend, MemoryBackend)
    assert session.backend.wanted
    wanted = session.backend.wanted
    assert wanted.keys_required
    assert wanted.preparation
    assert (wanted.preparation.code, wanted.preparation.digest) == (b"zip", "0")
    assert [(model["model"], model["options"]) for model in wanted.preparation.models] == [("a", {"size": 3})]
    assert "zip" not in repr(wanted)
    other = opened(ONE)
    other.ensure(shown)
    assert isinstance(other.backend, MemoryBackend)
    assert other.backend.wanted
    assert (other.backend.wanted.keys_required, other.backend.wanted.preparation) == (False, None)
