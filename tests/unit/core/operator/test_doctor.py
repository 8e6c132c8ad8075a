"""What stands in the way: of this machine, of the file and of its cluster."""

from __future__ import annotations

import errno
import json
import shutil
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.unit.core.operator.conftest import TOKEN, MemoryBackend, Open

from rayllm import Backend, Check, Cluster, ClusterError, Device, Engine, Environment, Options
from rayllm.cli import discovery
from rayllm.cli.doctor import doctor
from rayllm.cluster.serve_api import ServeApi
from rayllm.deployment.session import Session
from rayllm.machine import cluster_checks, engine_checks, machine_checks
from rayllm.machine.doctor import ask, examine
from rayllm.plugins import Plugins
from rayllm.testing.fake_dashboard import FakeDashboard


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and no GPU."""
    monkeypatch.setenv("RAYLLM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", "/nowhere")
    return tmp_path / "home"


def states(checks: list[Check]) -> dict[str, str]:
    """By name."""
    return {check.name: check.state for check in checks}


def test_without_a_file(tmp_path: Path) -> None:
    """This machine and the plugins; a file that was named has to be there."""
    plugins = Plugins.discover([], disabled="")
    found = states(examine(tmp_path / "rayllm.yaml", plugins, {}, named=False))
    assert {found[name] for name in ("plugins", "file", "platform", "disk", "gpu")} == {"ok"}
    assert "cluster" not in found
    assert states(examine(tmp_path / "prod.yaml", plugins, {}, named=True))["file"] == "fail"


def test_a_file_that_is_wrong(opened: Open, tmp_path: Path) -> None:
    """Its first mistake, and what tells all; the machine is looked at all the same."""
    plugins = opened().plugins
    (tmp_path / "rayllm.yaml").write_text("name: demo\nmodels: {a: {engine: nope, source: /m}}\n")
    checks = examine(tmp_path / "rayllm.yaml", plugins, {}, named=False)
    (file,) = [check for check in checks if check.name == "file"]
    assert file.state == "fail"
    assert 'no engine "nope"' in file.detail
    assert file.cure.startswith("rayllm validate -f ")
    assert "platform" in states(checks)


def cluster_check(session: Session) -> Check:
    """What it says of the cluster."""
    (check,) = cluster_checks.cluster_checks(session)
    return check


def test_a_cluster_in_each_state(opened: Open, cluster: Cluster) -> None:
    """Ready, not there, starting, failed."""
    session = opened()
    assert isinstance(session.backend, MemoryBackend)
    assert "Ray 2.60.0 at http://127.0.0.1:" in cluster_check(session).detail
    session.backend.cluster = None
    assert cluster_check(session).detail == "demo is not running; rayllm up starts it"
    session.backend.cluster = replace(cluster, state="starting", reason="Ray starts")
    assert (cluster_check(session).state, cluster_check(session).detail) == ("warn", "starting: Ray starts")
    session.backend.cluster = replace(cluster, state="failed", reason="it died")
    assert (cluster_check(session).state, cluster_check(session).cure) == ("fail", "rayllm up")


def test_a_ray_that_does_not_fit(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told as `up` would refuse it."""
    session = opened()
    monkeypatch.setattr(ServeApi, "version", lambda _: {"ray_version": "2.9.0"})
    (check,) = ask({"cluster": lambda: cluster_checks.cluster_checks(session)})
    assert (check.state, "runs Ray 2.9.0" in check.detail) == ("fail", True)
    assert "pip install" in check.cure


def test_a_token_that_is_not_taken(opened: Open, cluster: Cluster) -> None:
    """In the words of the error, without the token."""
    session = opened()
    assert isinstance(session.backend, MemoryBackend)
    session.backend.cluster = replace(cluster, token="another")
    (check,) = ask({"cluster": lambda: cluster_checks.cluster_checks(session)})
    assert check.state == "fail"
    assert check.cure
    assert "another" not in check.detail + check.cure


def test_a_plugins_own_checks(opened: Open, tmp_path: Path) -> None:
    """The backend's with its options, the engine's with each device; both beside core's."""
    session = opened()
    plugins = session.plugins
    seen: list[Any] = []

    def of_backend(options: Options) -> Iterator[Check]:
        seen.append(options)
        yield Check(name="rack", state="warn", detail="it is warm", cure="open a window")

    def of_engine(device: Device) -> list[Check]:
        seen.append(device.kind)
        return [Check(name="toy", detail="winds up")]

    plugins.backends["local"] = replace(plugins.backends["local"], check=of_backend, capabilities={"this-machine"})
    plugins.engines["toy"] = replace(plugins.engines["toy"], check=of_engine)
    checks = states(examine(tmp_path / "rayllm.yaml", plugins, {}, named=True))
    assert (checks["rack"], checks["toy"]) == ("warn", "ok")
    assert seen in ([Options(), "cpu"], ["cpu", Options()])


@pytest.mark.parametrize(("cure", "told"), [("mend the network", False), ("buy a rack", True)])
def test_what_cluster_and_backend_both_meet(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cure: str, told: bool
) -> None:
    """Is told once: by the backend's own check."""
    session = opened()
    check = Check(name="rack", state="fail", detail="GET /rack: no answer", cure=cure)
    plugins = session.plugins

    def find(_: str) -> None:
        raise ClusterError("GET /clusters: no answer", cure="mend the network")

    monkeypatch.setattr(session.backend, "find", find)
    backend = replace(plugins.backends["local"], check=lambda _: [check], open=lambda _: session.backend)
    plugins.backends["local"] = backend
    checks = states(examine(tmp_path / "rayllm.yaml", plugins, {}, named=True))
    assert checks["rack"] == "fail"
    assert ("cluster" in checks) == told


def test_nodes_that_are_elsewhere(opened: Open, tmp_path: Path) -> None:
    """What this machine has says nothing about them."""
    session = opened()
    assert (
        not {"disk", "gpu", "gateway port"}
        & states(examine(tmp_path / "rayllm.yaml", session.plugins, {}, named=True)).keys()
    )


def test_checks_that_fail_or_hang_are_told(home: Path) -> None:
    """Each for itself: a plugin's fault, an error with a cure, and one that never answers."""
    gate = threading.Event()

    def broken() -> list[Check]:
        raise ValueError("oops")

    def refused() -> list[Check]:
        raise ClusterError("no", cause="because", cure="do")

    def hangs() -> list[Check]:
        gate.wait()
        return []

    def unwritable() -> list[Check]:
        raise PermissionError(errno.EACCES, "Permission denied", str(home / "run"))

    fine = [Check(name="d", detail="fine")]
    checks = ask({"a": broken, "b": refused, "c": hangs, "d": lambda: fine, "e": unwritable}, 0.5)
    gate.set()
    assert [(check.name, check.state) for check in checks] == [
        ("a", "warn"),
        ("b", "fail"),
        ("c", "warn"),
        ("d", "ok"),
        ("e", "fail"),
    ]
    assert checks[4].cure == "set RAYLLM_HOME to a folder on a disk of this machine that you may write to"
    assert [check.detail for check in checks[:3]] == [
        "this check itself failed: ValueError: oops",
        "no: because",
        "no answer within 0.5 s",
    ]


def test_the_gateways_port(home: Path) -> None:
    """Free, or whose it is."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (check,) = ask({"gateway port": lambda: engine_checks.port_checks("demo", "127.0.0.1", port)})
        assert (check.state, f"port {port} on 127.0.0.1 is in use" in check.detail) == ("fail", True)
    (check,) = engine_checks.port_checks("demo", "127.0.0.1", port)
    assert check.state == "ok"


def test_room_for_what_has_to_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted for what is not there yet."""
    environment = Environment(["not-there==1"], disk=1 << 60)
    engine = Engine(name="big", summary="", options=Options, environment=environment, commands=lambda _: [])
    wanted = [(engine, "auto", None, Device(kind="cpu"))]
    (check,) = engine_checks.disk_checks(wanted)
    assert (check.state, "are needed" in check.cure) == ("fail", True)
    (check,) = engine_checks.environment_checks(wanted[0])
    assert check.detail.startswith("not built yet: the first start builds it (about ")
    assert next(engine_checks.disk_checks([])).state == "ok"


@pytest.mark.parametrize(
    ("script", "state", "words"),
    [
        ("echo 'H, 580.1, 80 MiB'; echo 'H, 580.1, 80 MiB'", "ok", "H, 580.1, 80 MiB; H, 580.1, 80 MiB"),
        ("echo 'no devices were found'; exit 6", "warn", "no devices were found"),
    ],
)
def test_gpus(script: str, state: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As nvidia-smi tells, in its own words where it fails."""
    smi = tmp_path / "nvidia-smi"
    smi.write_text(f"#!/bin/sh\n{script}\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    (check,) = engine_checks.gpu_checks(None)
    assert (check.state, check.detail) == (state, words)


def test_a_model_asks_for_gpus_that_are_not_here(opened: Open) -> None:
    """What to do about it."""
    text = "name: demo\nmodels: {m: {engine: toy, source: file:/m, resources: {gpus: 1}}}"
    (check,) = engine_checks.gpu_checks(opened(text).checked)
    assert (check.state, check.cure) == ("fail", "install NVIDIA's driver, or set resources.gpus: 0")


def test_a_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch, dashboard: FakeDashboard) -> None:
    """A warning: what is on the nodes serves without it."""
    monkeypatch.setenv("HF_ENDPOINT", dashboard.url)
    assert next(cluster_checks.hub_checks()).state == "ok"
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert next(cluster_checks.hub_checks()).state == "warn"


def test_memory_and_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little memory warns; so does a missing uv, which RayLLM can bring."""
    monkeypatch.setattr(machine_checks, "LITTLE", 1 << 60)
    assert [check.state for check in machine_checks.memory_checks()] == ["warn"]
    monkeypatch.setattr(machine_checks, "installed", lambda: None)
    assert [check.state for check in machine_checks.uv_checks()] == ["warn"]


def test_the_command(
    opened: Open, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Marks and cures for a person, JSON for a program; 1 where something stands in the way."""
    session = opened()
    monkeypatch.setattr(discovery, "discover", lambda *_, **__: session.plugins)
    doctor(tmp_path / "rayllm.yaml")
    assert "✔ cluster: Ray 2.60.0" in capsys.readouterr().out
    doctor(tmp_path / "rayllm.yaml", json=True)
    out = capsys.readouterr().out
    assert {check["state"] for check in json.loads(out)} <= {"ok", "warn"}
    assert TOKEN not in out
    with pytest.raises(typer.Exit) as caught:
        doctor(tmp_path / "none.yaml")
    assert caught.value.exit_code == 1
    assert "✘ file: there is no file" in capsys.readouterr().out


def test_a_backend_needs_no_check() -> None:
    """The field is optional, as for engines."""
    assert Backend(name="x", summary="", options=Options, open=lambda _: MemoryBackend(None)).check is None
    assert shutil.which("nvidia-smi") is None
