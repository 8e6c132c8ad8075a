"""The commands that talk to a cluster, as a person sees them."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.unit.core.operator.conftest import TOKEN, MemoryBackend, Open

from rayllm.api import RayLLM
from rayllm.backends import Cluster
from rayllm.cli.down import down
from rayllm.cli.logs import logs
from rayllm.cli.opening import confirmed
from rayllm.cli.output import Output
from rayllm.cli.plan import plan
from rayllm.cli.progress import Steps
from rayllm.cli.status import status
from rayllm.cli.up import up
from rayllm.cluster.bundle import Bundle
from rayllm.config.schema import GatewayConfig
from rayllm.deployment import proposal, watch
from rayllm.deployment.session import Session
from rayllm.deployment.watch import ModelsFailedError
from rayllm.errors import ClusterError, InputError
from rayllm.testing.fake_dashboard import App, FakeDashboard

HERE = Path("rayllm.yaml")
ONE = "name: demo\nmodels: {small: {engine: toy, source: file:/weights/small}}"
NODE = {"node_id": "n1", "state": "ALIVE", "resources_total": {"CPU": 8.0}}
REPLICA = {"model": "small", "replica": "r1", "node": "n1", "phase": "ready", "detail": "", "since": 1.0}
FAILURE = {
    "replica": "r0",
    "node": "n1",
    "log": "rayllm/demo--small.r0.log",
    "message": "the engine died",
    "cause": "Error: a\nand b",
    "cure": "",
    "at": 1.0,
    "count": 1,
}


class Screen:
    """What a command printed."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self) -> str:
        """The results since the last time, without the notes; no token in either."""
        captured = self._capture.readouterr()
        assert TOKEN not in captured.out + captured.err
        self.notes = captured.err
        return captured.out


@pytest.fixture
def screen(capsys: pytest.CaptureFixture[str]) -> Screen:
    """The person's."""
    return Screen(capsys)


@pytest.fixture(autouse=True)
def session(opened: Open, dashboard: FakeDashboard, monkeypatch: pytest.MonkeyPatch) -> Session:
    """Every command opens this one; polls make no pause, code is a package of nothing."""
    found = opened(ONE)
    monkeypatch.setattr("rayllm.cli.opening.open_file", lambda *_, **__: RayLLM(found))
    monkeypatch.setattr(proposal, "build", lambda _: Bundle("rayllm-0.zip", b""))
    monkeypatch.setattr(watch, "POLL_S", 0)
    dashboard.nodes = [NODE]
    return found


def is_ready(dashboard: FakeDashboard, **more: Any) -> None:
    """The directory knows a replica that serves."""
    replica = {**REPLICA, "log": "rayllm/demo--small.r1.log"}
    dashboard.snapshot = {"replicas": [replica], "failures": {}, "past": {}, **more}


def test_up(dashboard: FakeDashboard, screen: Screen) -> None:
    """The plan and the way are notes; the result is what to do next."""
    up(HERE)
    assert screen() == (
        f"\n  curl {dashboard.url}/v1/chat/completions -H 'content-type: application/json'"
        ' -d \'{"model":"small","messages":[{"role":"user","content":"hi"}]}\'\n'
        "  rayllm chat small      rayllm status      rayllm logs small      rayllm down\n"
    )
    assert screen.notes.splitlines()[:2] == [
        "demo on local",
        "  + small        toy · small · 1 replica · needs 1 CPU",
    ]
    assert "✔ small        ready, answered a first prompt  0 s" in screen.notes


def test_up_for_a_program(screen: Screen) -> None:
    """One JSON document, nothing else."""
    up(HERE, json=True)
    assert json.loads(screen())["models"]["small"]["state"] == "ready"


def test_up_asks_before_it_restarts(
    opened: Open, dashboard: FakeDashboard, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody can answer it refuses; --yes answers."""
    up(HERE)
    changed = opened(ONE.replace("source:", "options: {size: 2}, source:"))
    monkeypatch.setattr("rayllm.cli.opening.open_file", lambda *_, **__: RayLLM(changed))
    with pytest.raises(InputError) as caught:
        up(HERE)
    assert str(caught.value) == (
        "nobody is here to answer: This stops or restarts small. Go on?\n  do     say it beforehand: --yes"
    )
    assert dashboard.serve.told["demo--small"]["args"]["options"] == {}
    up(HERE, yes=True)
    assert dashboard.serve.told["demo--small"]["args"]["options"] == {"size": 2}


def test_up_fails(dashboard: FakeDashboard, screen: Screen) -> None:
    """With the model's own error; nothing is printed as a result. The plan tells of the next attempt."""
    dashboard.serve.does["demo--small"] = App("DEPLOY_FAILED", "Error: no memory", [])
    with pytest.raises(ModelsFailedError, match="1 of 1 models did not come up"):
        up(HERE, json=True)
    assert screen() == ""
    plan(HERE)
    assert "  ~ small        tries again what failed\n" in screen()


def test_plan(dashboard: FakeDashboard, screen: Screen) -> None:
    """What would change; then, that nothing would."""
    plan(HERE)
    assert screen() == (
        "demo on local\n"
        "  + small        toy · small · 1 replica · needs 1 CPU\n"
        "  + gateway      http://127.0.0.1:8000\n"
        "Apply with: rayllm up\n"
    )
    up(HERE)
    screen()
    plan(HERE)
    assert screen() == "No changes. demo is what rayllm.yaml says.\n"
    dashboard.nodes = [{**NODE, "resources_total": {"CPU": 0.5}}]
    plan(HERE)
    too_large = "small: one replica needs 1 CPU core; the largest node has 0.5 CPU cores"
    assert screen() == f"No changes. demo is what rayllm.yaml says.\n  ✘ {too_large}\n"
    plan(HERE, json=True)
    found = json.loads(screen())
    assert (found["name"], [change["kind"] for change in found["changes"]], found["misfits"]) == (
        "demo",
        ["keep", "keep"],
        [too_large],
    )


def test_plan_tells_what_says_nothing(session: Session, screen: Screen) -> None:
    """The gateway's address in the file, where the platform gives another."""
    checked = session.checked
    config = checked.config.model_copy(update={"gateway": GatewayConfig(host="127.0.0.1", port=8000)})
    backend = replace(checked.backend, endpoint=lambda _, name: f"https://{name}.example.com")
    session.checked = replace(checked, config=config, backend=backend)
    plan(HERE)
    assert "  + gateway      https://demo.example.com\n" in screen()
    said = "gateway.host and gateway.port say nothing: the backend local gives the endpoint its address\n"
    assert screen.notes == said


def test_plan_while_the_cluster_starts(session: Session, cluster: Cluster, screen: Screen) -> None:
    """It can't know what is served, and says so."""
    assert isinstance(session.backend, MemoryBackend)
    session.backend.cluster = replace(cluster, state="starting", reason="the head died 3 s ago")
    plan(HERE)
    assert "  + small " in screen()
    assert screen.notes == "the cluster is starting: the head died 3 s ago; what it serves can't be told now\n"


def test_status(dashboard: FakeDashboard, screen: Screen) -> None:
    """A table; the exit status tells a program whether all is ready."""
    up(HERE)
    is_ready(dashboard)
    screen()
    status(HERE)
    assert screen() == (
        f"demo on local · {dashboard.url} · 1 node\nMODEL  ENGINE  PLUGIN  REPLICAS  LOAD  STATE\n"
        "small  toy     -       1/1       -     ready\n"
    )
    status(HERE, json=True)
    assert json.loads(screen())["models"]["small"]["replicas"][0]["log"] == "rayllm/demo--small.r1.log"


def test_status_when_something_is_wrong(dashboard: FakeDashboard, screen: Screen) -> None:
    """Why, and where to look."""
    up(HERE)
    screen()
    dashboard.serve.does["demo--small"] = App("DEPLOY_FAILED", "", [])
    dashboard.serve.does["demo--rayllm"] = App("DEPLOY_FAILED", "rayllm.errors.ClusterError: port 8000 is taken")
    is_ready(dashboard, replicas=[], failures={"small": {**FAILURE, "log": "l"}})
    with pytest.raises(typer.Exit) as caught:
        status(HERE)
    assert caught.value.exit_code == 1
    assert screen().splitlines()[2:] == [
        "small  toy     -       0/1       -     failed",
        "  small: the engine died",
        "    cause   Error: a",
        "            and b",
        "    log     rayllm logs small --last-start",
        "  gateway: port 8000 is taken",
    ]
    dashboard.serve.put({"applications": []})
    with pytest.raises(typer.Exit):
        status(HERE)
    assert screen().splitlines()[1:] == [
        "  models: none deployed   → rayllm up",
        "  gateway: not deployed   → rayllm up",
    ]


def test_status_of_a_model_that_is_ready_again(dashboard: FakeDashboard, screen: Screen) -> None:
    """What it went through is told."""
    up(HERE)
    is_ready(dashboard, past={"small": {**FAILURE, "cause": "", "cure": "use a GPU", "topic": "memory", "count": 2}})
    screen()
    status(HERE)
    told = screen().splitlines()[3:]
    assert told[0].startswith("  small: ready again; failed 2 times, last ")
    assert told[1:] == [
        "    do      use a GPU",
        "    log     rayllm logs small --last-start",
        "    more    rayllm explain memory",
    ]


def test_logs(dashboard: FakeDashboard, screen: Screen) -> None:
    """As they are, at once and followed."""
    up(HERE)
    is_ready(dashboard)
    dashboard.logs["rayllm/demo--small.r1.log"] = "one\ntwo\n"
    screen()
    logs("small", HERE)
    assert screen() == "one\ntwo\n"
    logs("small", HERE, follow=True)
    assert screen() == "one\ntwo\n"


def test_logs_that_are_not_there(dashboard: FakeDashboard) -> None:
    """A name that is none, and a model whose engine has not started."""
    with pytest.raises(InputError, match=r"rayllm\.yaml has no model 'smal'.*small"):
        logs("smal", HERE)
    cure = "see what it waits for: rayllm status small"
    with pytest.raises(ClusterError, match=f"no engine of small has started yet\n  do     {cure}"):
        logs("small", HERE)
    up(HERE)
    is_ready(dashboard, replicas=[{**REPLICA, "phase": "weights", "log": "l"}])
    with pytest.raises(ClusterError, match="no engine of small has started yet"):
        logs("small", HERE)


def test_down(dashboard: FakeDashboard, screen: Screen) -> None:
    """What was there, and what was not."""
    up(HERE)
    with pytest.raises(InputError, match="Stop demo and everything it serves"):
        down(HERE)
    assert dashboard.serve.told
    screen()
    down(HERE, yes=True)
    assert screen() == "demo is down.\n"
    assert not dashboard.serve.told
    down(HERE, yes=True)
    assert screen() == "demo was not running.\n"


def test_down_that_is_interrupted(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that something may be left, and what takes it away."""

    def interrupted(*_: Any) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(RayLLM, "down", interrupted)
    with pytest.raises(KeyboardInterrupt):
        down(HERE, yes=True)
    assert screen() == ""
    assert screen.notes == "Interrupted. A part of demo may be left: rayllm down takes it away\n"


class Terminal(io.StringIO):
    """Somebody is there."""

    def isatty(self) -> bool:
        """Yes."""
        return True


@pytest.mark.parametrize(("answer", "agreed"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_a_person_is_asked(monkeypatch: pytest.MonkeyPatch, screen: Screen, answer: str, agreed: bool) -> None:
    """No is the default, and then nothing happens."""
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    assert confirmed("Go on?", Output(), yes=False) == agreed
    assert screen().strip() == ""
    assert ("Nothing was changed." in screen.notes) == (not agreed)


def test_progress_in_a_log(screen: Screen) -> None:
    """One line for each thing that happened; what only moves on is not told again."""
    with Steps() as steps:
        steps("weights", "fetching · 1 of 5 GiB")
        steps("weights", "fetching · 2 of 5 GiB")
        steps._steps["weights"].started -= 75
        steps("weights", "fetched", done=True)
        steps("engine", "starting")
    assert screen() == ""
    assert screen.notes.splitlines() == [
        "· weights      fetching · 1 of 5 GiB",
        "✔ weights      fetched  1 min 15 s",
        "· engine       starting",
    ]


def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Live lines, which end with what was last."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Steps() as steps:
        steps("weights", "fetching · 1 of 5 GiB")
        steps("weights", "all [bold]there[/bold]", done=True)
        steps("engine", "starting")
    last = terminal.getvalue().rpartition("✔")[2]
    assert "weights all [bold]there[/bold]" in last
    assert "engine" in last
