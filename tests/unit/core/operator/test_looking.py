"""Looking at one model, again and again, and into its logs, as a person does."""

from __future__ import annotations

import json
import os
import pty
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.unit.core.operator.conftest import Open

from rayllm.api import RayLLM
from rayllm.cli import watching
from rayllm.cli.app import app
from rayllm.cli.logs import logs
from rayllm.cli.output import Output
from rayllm.cli.scale import scale
from rayllm.cli.status import status
from rayllm.cluster.bundle import Bundle
from rayllm.deployment import proposal, watch
from rayllm.errors import ClusterError, InputError
from rayllm.testing.fake_dashboard import App, FakeDashboard

HERE = Path("rayllm.yaml")
ONE = "name: demo\nmodels: {small: {engine: toy, source: file:/w, options: {size: 2}}}"
NODE = {"node_id": "n1", "state": "ALIVE", "node_ip": "10.0.0.1", "resources_total": {"CPU": 8.0}}
HEAD = {**NODE, "node_id": "n0", "is_head_node": True}
FAILURE = {
    "message": "the engine died",
    "cause": "Error: a\nand b",
    "cure": "",
    "count": 1,
    "node": "n1",
    "replica": "gone1",
    "log": "gone.log",
    "topic": "memory",
}
VERSIONS = {"rayllm-core": "0.1.0", "rayllm-engine-toy": "0.3.1"}


def replica(name: str, phase: str = "ready", age_s: float = 200, detail: str = "") -> dict[str, Any]:
    """As the directory tells it."""
    known = {"model": "small", "replica": name, "node": "n1", "phase": phase, "detail": detail, "log": f"{name}.log"}
    return {**known, "since": time.time() - age_s}


def knows(dashboard: FakeDashboard, *replicas: dict[str, Any], **more: Any) -> None:
    """What the directory knows; each replica has a log that names it."""
    dashboard.snapshot = {"replicas": list(replicas), "failures": {}, "past": {}, **more}
    dashboard.logs = {f"{name}.log": f"of {name}\n" for name in ("gone", *(one["replica"] for one in replicas))}


@pytest.fixture(autouse=True)
def llm(opened: Open, dashboard: FakeDashboard, monkeypatch: pytest.MonkeyPatch) -> RayLLM:
    """The deployment that every command opens, up."""
    found = RayLLM(opened(ONE))
    monkeypatch.setattr("rayllm.cli.opening.open_file", lambda *_, **__: found)
    monkeypatch.setattr(proposal, "build", lambda _: Bundle("rayllm-0.zip", b"", VERSIONS))
    monkeypatch.setattr(watch, "POLL_S", 0)
    monkeypatch.setattr(watching, "EVERY_S", 0)
    dashboard.nodes = [NODE, HEAD]
    found.up()
    return found


def test_a_model_that_serves(dashboard: FakeDashboard, capsys: pytest.CaptureFixture[str]) -> None:
    """What was deployed, where it runs and since when."""
    told = {"version": "1.2", "environment": "toy-cpu-0123456789ab", "device": "cpu", "computing": 2.0, "queued": 1.0}
    knows(dashboard, {**replica("r1"), **told})
    status(HERE, model="small")
    assert capsys.readouterr().out.splitlines() == [
        "small · ready · 1 of 1 replicas run",
        f"  endpoint    {dashboard.url}/v1",
        "  engine      toy",
        "  source      file:/w",
        "  environment auto",
        "  replicas    1",
        "  options     size: 2",
        "  needs       1 CPU core",
        "  code        rayllm-core 0.1.0, rayllm-engine-toy 0.3.1",
        "REPLICA  NODE         ENVIRONMENT           LOAD          PHASE  SINCE  DETAIL",
        "r1       n1 10.0.0.1  toy-cpu-0123456789ab  2 + 1 queued  ready  3 min",
    ]
    status(HERE, json=True, model="small")
    found = json.loads(capsys.readouterr().out)
    assert (found["name"], found["cause"], found["cure"]) == ("small", "", "")
    assert (found["config"]["options"], found["config"]["replicas"]) == ({"size": 2}, 1)
    assert found["versions"] == VERSIONS
    assert "versions" not in found["config"]
    status(HERE)
    assert capsys.readouterr().out.splitlines()[1:3] == [
        "MODEL  ENGINE       PLUGIN                   REPLICAS  LOAD          STATE",
        "small  toy 1.2 cpu  rayllm-engine-toy 0.3.1  1/1       2 + 1 queued  ready",
    ]


def test_a_model_that_failed(dashboard: FakeDashboard, capsys: pytest.CaptureFixture[str]) -> None:
    """One cause, one thing to do, and where to read more."""
    knows(dashboard, failures={"small": {**FAILURE, "at": time.time()}})
    dashboard.serve.does["demo--small"] = App("DEPLOY_FAILED", "", [])
    with pytest.raises(typer.Exit):
        status(HERE, model="small")
    out = capsys.readouterr().out
    assert out.startswith("small · failed · 0 of 1 replicas run\n")
    assert out.endswith(
        "  cause   the engine died: Error: a\n"
        "          and b\n"
        "  do      see what it wrote: rayllm logs small --last-start; then: rayllm up\n"
        "  failed less than a minute ago: the engine died\n"
        "  log     rayllm logs small --last-start\n"
        "  more    rayllm explain memory\n"
    )


def test_a_model_that_waits(dashboard: FakeDashboard, capsys: pytest.CaptureFixture[str]) -> None:
    """What it needs and what the nodes have, in the table, too."""
    knows(dashboard)
    dashboard.nodes = [{**NODE, "resources_total": {"CPU": 0.5}}]
    pending = {"state": "STARTING", "node_id": None, "start_time_s": time.time() - 60}
    dashboard.serve.does["demo--small"] = App("DEPLOYING", "", [pending])
    with pytest.raises(typer.Exit):
        status(HERE)
    assert capsys.readouterr().out.splitlines()[3:] == [
        "  small: waiting for a node with room, or a busy one",
        "    cause   one replica needs 1 CPU core; the largest node has 0.5 CPU cores",
        "    do      ask for less under resources:, stop another model, or add a node",
    ]


def test_models_that_are_not(dashboard: FakeDashboard, llm: RayLLM) -> None:
    """Misspelt, or not deployed yet; the gateway is a part like a model."""
    with pytest.raises(InputError, match=r"no model 'smal'; did you mean \"small\""):
        status(HERE, model="smal")
    status(HERE, model="gateway")
    dashboard.serve.put({"applications": []})
    with pytest.raises(ClusterError, match="small is not deployed\n  do     deploy what the file says: rayllm up"):
        status(HERE, model="small")
    with pytest.raises(ClusterError, match="small is not deployed"):
        llm.model_status("small")


def changes(dashboard: FakeDashboard, monkeypatch: pytest.MonkeyPatch, *steps: Any) -> None:
    """Between two looks of a watch one step; after the last, Ctrl-C."""
    left = iter(steps)

    def pause(_: float) -> None:
        step = next(left, None)
        if step is None:
            raise KeyboardInterrupt
        step()

    monkeypatch.setattr("rayllm.cli.watching.time.sleep", pause)


def test_a_watch_in_a_log(
    dashboard: FakeDashboard, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A block for each change; what an engine says while it starts is none; a cluster that is away is one."""
    knows(dashboard, replica("r1"))

    def no_dashboard() -> None:
        dashboard.disturbances.append(lambda handler: handler.answer(404, "gone"))

    changes(
        dashboard,
        monkeypatch,
        lambda: None,
        lambda: knows(dashboard, replica("r2", "starting", 1.0, "10 %")),
        lambda: dashboard.snapshot["replicas"][0].update(detail="20 %") if dashboard.snapshot else None,
        no_dashboard,
    )
    status(HERE, watch=True)
    out, err = capsys.readouterr()
    blocks = out.split("demo on local")
    assert len(blocks) == 3
    assert "ready" in blocks[1]
    assert "small: engine starting · 10 %" in blocks[2]
    assert "answered HTTP 404" in err


def test_a_watch_for_a_program(
    dashboard: FakeDashboard, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One JSON document in each line."""
    knows(dashboard, replica("r1"))
    changes(dashboard, monkeypatch, lambda: knows(dashboard, replica("r2")))
    status(HERE, json=True, model="small", watch=True)
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["replicas"][0]["replica"] for line in lines] == ["r1", "r2"]


def test_a_watch_on_a_terminal(dashboard: FakeDashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is drawn over what was there, in colour."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    knows(dashboard, replica("r1"))
    changes(dashboard, monkeypatch, lambda: knows(dashboard, replica("r2")))
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        assert Output().stdout.isatty()
        status(HERE, model="small", watch=True)
    monkeypatch.undo()
    drawn = ""
    while "r2 " not in drawn:
        drawn += os.read(master, 100_000).decode()  # fails at the end, where r2 never came
    os.close(master)
    assert "\x1b[32msmall · ready · 1 of 1 replicas run" in drawn
    assert re.search(r"r1 .*\x1b\[\d*A.*r2 ", drawn, re.DOTALL), "not drawn over the first"


def test_logs_of_replicas(dashboard: FakeDashboard, capsys: pytest.CaptureFixture[str]) -> None:
    """By id or its beginning, also of one that failed; else the newest that lives, or the last that started."""
    ready, starting = replica("abc1", age_s=100), replica("abd2", "starting", 50)
    failed = {"small": {**FAILURE, "at": time.time()}}
    knows(dashboard, ready, starting, replica("xyz", "weights"), failures=failed)
    for asked, shown in ((None, "abd2"), ("abc", "abc1"), ("abd2", "abd2"), ("gone1", "gone")):
        logs("small", HERE, replica=asked)
        assert capsys.readouterr().out == f"of {shown}\n"
    logs("small", HERE, last_start=True)
    assert capsys.readouterr().out == "of gone\n"
    newest_first = r"newest first: abd2 \(starting\), abc1 \(ready\)"
    with pytest.raises(InputError, match=rf"several replicas whose id begins with 'ab'\n  do     {newest_first}$"):
        logs("small", HERE, replica="ab")
    with pytest.raises(InputError, match=r"no replica 'xyz' with a log\n  do     newest first: gone1 \(failed\), abd2"):
        logs("small", HERE, replica="xyz")


def test_how_many_lines(dashboard: FakeDashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last 200; all of a start; as many as are asked for."""
    knows(dashboard, replica("r1"))
    asked = []

    def log(*_: object, lines: int) -> str:
        asked.append(lines)
        return ""

    monkeypatch.setattr("rayllm.cluster.serve_api.ServeApi.log", log)
    logs("small", HERE)
    logs("small", HERE, last_start=True)
    logs("small", HERE, last_start=True, lines=5)
    assert asked == [200, -1, 5]


def test_the_gateways_log(dashboard: FakeDashboard, capsys: pytest.CaptureFixture[str]) -> None:
    """It lies on the head node; there is one, without starts."""
    dashboard.logs["rayllm/demo--gateway.log"] = "503\n"
    logs("gateway", HERE)
    assert capsys.readouterr().out == "503\n"
    with pytest.raises(InputError, match="the gateway has one log"):
        logs("gateway", HERE, last_start=True)
    dashboard.nodes = [NODE]
    with pytest.raises(ClusterError, match="Ray lists no head node"):
        logs("gateway", HERE)


@pytest.mark.parametrize("arguments", [["small", "-f"], ["-f", "small"], ["small", "-f", "-n", "5"]])
def test_f_names_the_file(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Who wants to follow is told how."""
    with pytest.raises(SystemExit) as caught:
        app(["logs", *arguments], prog_name="rayllm")
    assert caught.value.code == 2
    assert "-f is --file, as in every command; to follow the log: -F or --follow" in capsys.readouterr().err


def test_scale(dashboard: FakeDashboard, capsys: pytest.CaptureFixture[str]) -> None:
    """What is so now, and that the file says otherwise."""
    scale("small", 2, HERE)
    out, err = capsys.readouterr()
    assert out == "small has 2 replicas\n"
    assert err.endswith("rayllm.yaml says otherwise: rayllm up sets it back to that\n")
    scale("small", 1, HERE)
    out, err = capsys.readouterr()
    assert (out, "otherwise" in err) == ("small has 1 replica\n", False)
