"""`RayBackend` of the earlier tool, on a Ray that is a dashboard with a Serve that only remembers."""

from __future__ import annotations

import asyncio
import sys
import warnings
from collections.abc import Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

import ray_serve_cai
from ray_serve_cai import CAIClusterManager, RayBackend, launch_cluster
from ray_serve_cai.deployments import Place
from ray_serve_cai.gone import GoneError
from ray_serve_cai.places import remember
from rayllm import Backend, Cluster, ClusterBackend, ClusterSpec, Command, Engine, Environment, Options, Progress
from rayllm.cluster.bundle import Bundle
from rayllm.deployment import proposal, watch
from rayllm.plugins import PluginInfo, Plugins
from rayllm.testing.fake_dashboard import App, FakeDashboard

pytestmark = pytest.mark.filterwarnings("ignore:ray_serve_cai:DeprecationWarning")
TOKEN = "t0ken-of-the-cluster"
DISABLED = "backend-cai,backend-local,engine-vllm,engine-sglang,engine-fake"
Found = TypeVar("Found")


class EngineOptions(Options):
    """Those of vLLM that the tests name."""

    max_model_len: int | None = None
    tensor_parallel_size: int | None = None
    gpu_memory_utilization: float | None = None


class OfCore(Plugins):
    """Where plugins come from matters to the code package alone: here, core's own distribution."""

    def origin_of(self, kind: str, name: str) -> PluginInfo:
        """Core."""
        return PluginInfo(name="core", module="rayllm.builtin", distribution="rayllm-core", offers=(f"{kind} {name}",))


class There(ClusterBackend):
    """The dashboard as a cluster that is there; remembers what was done to it."""

    cluster: Cluster
    done: list[str]

    def ensure(self, spec: ClusterSpec, progress: Progress) -> Cluster:
        """It is there."""
        progress("cluster", spec.name)
        self.done.append("ensure")
        return self.cluster

    def find(self, name: str) -> Cluster | None:
        """It is there."""
        return self.cluster if name else None

    def destroy(self, name: str, progress: Progress) -> None:
        """It was there."""
        progress("cluster", name)
        self.done.append("destroy")


@pytest.fixture
def dashboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDashboard]:
    """Ray's dashboard on this machine, which asks for a token; the gateway's admin API answers at the same address."""
    with FakeDashboard(TOKEN) as server:
        server.nodes = [{"node_id": "n1", "state": "ALIVE", "resources_total": {"CPU": 8.0, "GPU": 4.0}}]
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", server.url)
        monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
        yield server


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch, dashboard: FakeDashboard) -> None:
    """An engine that is called vLLM, core's own backend `ray`, and two that take the dashboard for theirs."""
    found = OfCore.discover(disabled=DISABLED)
    found.engines["vllm"] = Engine(
        name="vllm", summary="", options=EngineOptions, environment=Environment(()), commands=lambda _: [Command()]
    )
    for name in ("local", "cai"):
        found.backends[name] = Backend(
            name=name, summary="", options=Options, open=lambda _: There(), capabilities={"create"}
        )
    monkeypatch.setattr(Plugins, "discover", lambda: found)
    cluster = Cluster(name="vllm-app", dashboard_url=dashboard.url, gateway_url=dashboard.url, token=TOKEN)
    monkeypatch.setattr(There, "cluster", cluster, raising=False)
    monkeypatch.setattr(There, "done", [], raising=False)
    monkeypatch.setattr(proposal, "build", lambda _: Bundle("rayllm-0.zip", b""))
    monkeypatch.setattr(watch, "POLL_S", 0.01)
    monkeypatch.setattr("ray_serve_cai.places._known", {})
    for name in ("CML_HOST", "CML_API_KEY", "RAY_ADDRESS", "CDSW_DOMAIN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def settings(dashboard: FakeDashboard) -> dict[str, Any]:
    """A model as the old README has it; the port is where the stand-in's admin API is."""
    port = dashboard.server_port
    return {"model": "/weights/llama", "tensor_parallel_size": 2, "gpu_memory_utilization": 0.9, "port": port}


def run(work: Coroutine[Any, Any, Found]) -> Found:
    """In a loop of its own."""
    return asyncio.run(work)


def started(settings: dict[str, Any]) -> RayBackend:
    """A backend with the model."""
    backend = RayBackend()
    assert run(backend.initialize_ray("auto"))["initialized"]
    assert run(backend.start_model(settings, engine="vllm"))["started"]
    return backend


def test_initialize(dashboard: FakeDashboard) -> None:
    """The same keys; a second time says so."""
    backend = RayBackend()
    found = run(backend.initialize_ray(address="auto"))
    node = {"node_id": "n1", "alive": True, "resources": {"CPU": 8.0, "GPU": 4.0}}
    assert found == {
        "initialized": True,
        "mode": "connected",
        "address": dashboard.url,
        "nodes": 1,
        "node_info": [node],
    }
    assert run(backend.initialize_ray())["mode"] == "already_initialized"


def test_a_model_from_start_to_stop(dashboard: FakeDashboard, settings: dict[str, Any]) -> None:
    """The README's calls in their order."""
    backend = RayBackend()
    assert run(backend.get_status()) == {"running": False, "status": "ray_not_initialized"}
    assert run(backend.stop_model()) == {"stopped": True, "status": "not_running"}
    run(backend.initialize_ray())
    assert run(backend.get_status()) == {"running": False, "status": "not_deployed"}
    result = run(backend.start_model(settings, engine="vllm", wait_ready=True))
    assert result.pop("elapsed_time") >= 0
    assert result == {
        "started": True,
        "engine": "vllm",
        "application_name": "vllm-app--llama",
        "port": dashboard.server_port,
        "status": "running",
        "model": "/weights/llama",
        "served_as": "llama",
        "endpoint": f"{dashboard.url}/v1",
        "ready": True,
    }
    model = dashboard.serve.told["vllm-app--llama"]
    assert model["args"]["options"] == {"tensor_parallel_size": 2, "gpu_memory_utilization": 0.9}
    assert model["deployments"][0]["ray_actor_options"]["num_gpus"] == 2
    status = run(backend.get_status())
    assert (status["running"], status["status"], status["application_name"]) == (True, "running", "vllm-app--llama")
    assert run(backend.wait_for_ready(timeout=5))["ready"] is True
    assert run(backend.stop_model()) == {"stopped": True, "status": "stopped"}
    assert dashboard.serve.told == {}
    assert run(backend.stop_model()) == {"stopped": True, "status": "not_running"}


def test_another_process_sees_the_model(settings: dict[str, Any]) -> None:
    """The old tool kept in memory what it had started."""
    started(settings)
    other = RayBackend()
    run(other.initialize_ray("auto"))
    assert run(other.get_status())["running"] is True
    assert run(other.stop_model())["status"] == "stopped"


def test_a_second_model_takes_the_firsts_place(dashboard: FakeDashboard, settings: dict[str, Any]) -> None:
    """As it did: there was one application."""
    backend = started(settings)
    assert run(backend.start_model({**settings, "model": "/weights/other"}))["served_as"] == "other"
    assert dashboard.serve.told.keys() == {"vllm-app--other", "vllm-app--rayllm"}


def test_what_others_deployed_stays(dashboard: FakeDashboard, settings: dict[str, Any]) -> None:
    """Also when the model is stopped."""
    theirs = {"name": "theirs", "deployments": [{"name": "d"}]}
    dashboard.serve.put({"applications": [theirs]})
    run(started(settings).shutdown())
    assert dashboard.serve.told.keys() == {"theirs"}


def test_a_model_that_fails(dashboard: FakeDashboard, settings: dict[str, Any]) -> None:
    """`start_model` says why, and so does the status."""
    backend = RayBackend()
    run(backend.initialize_ray("auto"))
    dashboard.serve.does["vllm-app--llama"] = App("DEPLOY_FAILED", "no memory left", [])
    result = run(backend.start_model(settings))
    assert result["started"] is False
    assert "no memory left" in result["message"]
    status = run(backend.get_status())
    assert (status["running"], status["status"]) == (False, "deploy_failed")
    late = run(backend.wait_for_ready(timeout=0))
    assert (late["ready"], late["error"]) == (False, "timeout")


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"model": None}, "invalid_config", "model's name is required"),
        ({"tensor_parallel_size": "two"}, "invalid_config", "a whole number expected"),
        ({"engine": "llama"}, "invalid_engine", 'Engine "llama" not found. Available: vllm'),
    ],
)
def test_settings_that_are_refused(settings: dict[str, Any], wrong: dict[str, Any], error: str, words: str) -> None:
    """Before anything is asked or started, in the old tool's words where it had some."""
    result = run(RayBackend().start_model({**settings, **wrong}))
    assert (result["started"], result["error"]) == (False, error)
    assert words in result["message"]


def test_what_is_lost_stands_in_the_warning(settings: dict[str, Any]) -> None:
    """Nothing is dropped in silence; the token is in no text."""
    backend = RayBackend()
    more = {"gpu_device": "0", "disable_log_stats": True, "hf_token": "hf_0123", "colour": "red"}
    with pytest.warns(DeprecationWarning, match="start_model goes with") as caught:
        assert run(backend.start_model({**settings, **more}))["started"]
    (warning,) = caught
    text = str(warning.message)
    assert warning.filename.endswith(("events.py", "base_events.py", __file__))
    assert all(f"  {key}: " in text for key in ("gpu_device", "disable_log_stats", "hf_token", "colour", "model"))
    assert "hf_0123" not in text


def test_the_hubs_token_reaches_the_nodes(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """As a secret, whose value is in no file."""
    given: dict[str, Any] = {}

    def ensure(self: There, spec: ClusterSpec, progress: Progress) -> Cluster:
        given.update(spec.secrets)
        return self.cluster

    monkeypatch.setattr(There, "ensure", ensure)
    backend = RayBackend()
    run(backend.initialize_ray("local"))
    assert run(backend.start_model({**settings, "hf_token": "hf_0123"}))["started"]
    assert given == {"HF_TOKEN": "hf_0123"}


def test_this_machines_own_cluster(dashboard: FakeDashboard, settings: dict[str, Any]) -> None:
    """Without a dashboard here one is started; the model goes alone, the cluster with `shutdown`."""
    backend = RayBackend()
    with pytest.MonkeyPatch.context() as patch, FakeDashboard() as gone:
        patch.setenv("RAY_API_SERVER_ADDRESS", gone.url)
        gone.shutdown()
        gone.server_close()
        assert run(backend.initialize_ray())["mode"] == "local"
    assert run(backend.start_model(settings))["started"]
    run(backend.stop_model())
    assert (dashboard.serve.told, "destroy" in There.done) == ({}, False)
    backend.close()
    assert There.done[-1] == "destroy"


def test_a_cluster_on_cloudera_ai_is_left_as_it_is(dashboard: FakeDashboard, settings: dict[str, Any]) -> None:
    """Found, not made; `stop_model` and `shutdown` take the model alone."""
    remember("ray-cluster.ml.example.com", Place(name="ray-cluster", mode="connected", backend="cai"))
    backend = RayBackend()
    with pytest.MonkeyPatch.context() as patch:
        cluster = Cluster(name="ray-cluster", dashboard_url=dashboard.url, gateway_url=dashboard.url, token=TOKEN)
        patch.setattr(There, "cluster", cluster)
        assert run(backend.initialize_ray("ray://ray-cluster.ml.example.com"))["initialized"]
        assert There.done == []
        assert run(backend.start_model(settings))["application_name"] == "ray-cluster--llama"
        run(backend.shutdown())
    assert (dashboard.serve.told, "destroy" in There.done) == ({}, False)


def test_a_cluster_without_a_token(settings: dict[str, Any]) -> None:
    """The old tool took any; now it is asked for by name."""
    with FakeDashboard() as server:
        found = run(RayBackend().initialize_ray(server.url))
        assert found["initialized"] is False
        assert "RayBackend(allow_open=True)" in found["message"]
        assert run(RayBackend(allow_open=True).initialize_ray(server.url))["initialized"] is True


def test_logs(dashboard: FakeDashboard, settings: dict[str, Any]) -> None:
    """Lines of the engine's own log, where the old tool told its folder."""

    async def lines(backend: RayBackend) -> list[str]:
        return [line async for line in backend.get_logs(tail=2)]

    assert run(lines(RayBackend())) == ["[ERROR] Ray not initialized"]
    backend = started(settings)
    (line,) = run(lines(backend))
    assert line.startswith("[ERROR] Failed to fetch logs: ")
    replica = {"replica": "r1", "node": "n1", "phase": "ready", "detail": "", "since": 1.0, "log": "l"}
    dashboard.snapshot = {"replicas": [{"model": "llama", **replica}]}
    dashboard.logs["l"] = "one\ntwo\n"
    assert run(lines(backend)) == ["one", "two"]


def test_in_a_loop_close_goes_on_by_itself(dashboard: FakeDashboard, settings: dict[str, Any]) -> None:
    """As it did; whoever waits for other tasks sees it end."""
    backend = started(settings)

    async def close() -> None:
        backend.close()
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))

    run(close())
    assert dashboard.serve.told == {}


def test_every_call_warns_once() -> None:
    """None is silent, none warns of what it calls itself."""

    async def logs() -> list[str]:
        return [line async for line in RayBackend().get_logs()]

    backend = RayBackend()
    ready = partial(backend.wait_for_ready, timeout=0)
    for call in (backend.initialize_ray, backend.get_status, ready, backend.stop_model, backend.shutdown, logs):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run(call())
        assert [one.category for one in caught] == [DeprecationWarning], call


def test_what_cannot_be_kept_says_what_to_do() -> None:
    """Names that never were are as in any module."""
    with pytest.raises(GoneError, match="register_engine is gone") as caught:
        from ray_serve_cai import register_engine  # noqa: F401
    assert "rayllm plugins new" in str(caught.value)
    with pytest.raises(AttributeError, match="no attribute 'never'"):
        _ = ray_serve_cai.never


def test_the_old_command_names_the_new_ones(capsys: pytest.CaptureFixture[str]) -> None:
    """With the file that was given."""
    assert launch_cluster.main(["--config", "cai.yaml", "start-cai"]) == 2
    said = capsys.readouterr().err
    assert "python -m rayllm_backend_cai.migrate cai.yaml -o rayllm.yaml" in said
    assert "rayllm up" in said


def test_the_page_tells_of_every_call() -> None:
    """With what takes its place."""
    page = (Path(__file__).parents[3] / "docs/backends/from-ray-serve-cai.md").read_text()
    calls = page.partition("| call | is now |")[2]
    public = [name for kind in (RayBackend, CAIClusterManager) for name in vars(kind) if not name.startswith("_")]
    assert len(public) == 12
    assert [name for name in public if f"{name}(" not in calls] == []


def test_no_ray_is_imported() -> None:
    """It is not needed on the operator's machine."""
    import subprocess

    told = "import sys, ray_serve_cai; print(sorted({'ray', 'torch', 'vllm'} & sys.modules.keys()))"
    shown = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, timeout=60, check=True)
    assert shown.stdout.strip() == "[]"
