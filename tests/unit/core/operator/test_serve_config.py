"""The config that Serve gets, and what is read back from Serve's report."""

from __future__ import annotations

from typing import Any

from tests.unit.core.operator.conftest import Open

from rayllm.cluster.bundle import Bundle
from rayllm.config.schema import ModelConfig
from rayllm.deployment.serve_config import deployed_apps, gateway_app, merge, model_app
from rayllm.serving.spec import GATEWAY_APP, GatewaySpec, ModelSpec, app_name, route_prefix

CODE = Bundle("rayllm-1.zip", b"", {"rayllm-core": "0.1.0"})


def details(*apps: dict[str, Any], status: str = "RUNNING", **more: Any) -> dict[str, Any]:
    """Serve's report with these configs."""
    reports = {app["name"]: {"status": status, "deployed_app_config": app} for app in apps}
    return {"applications": reports, **more}


def model(**fields: Any) -> ModelConfig:
    """A model of the file."""
    return ModelConfig.model_validate({"engine": "toy", "source": "file:/m", **fields})


def test_a_models_application() -> None:
    """Serve queues nothing, waits for the drain, and reserves what the file says."""
    app = model_app("demo", "m", model(resources={"gpus": 1, "cpus": 2, "memory": "8GiB"}, drain_s=30), CODE)
    assert (app["name"], app["route_prefix"]) == ("demo--m", "/demo/models/m")
    assert app["runtime_env"] == {"py_modules": ["gcs://rayllm-1.zip"]}
    assert app["args"]["versions"] == {"rayllm-core": "0.1.0"}
    assert app["deployments"] == [
        {
            "name": "engine",
            "num_replicas": 1,
            "max_ongoing_requests": 100_000,
            "health_check_period_s": 2.0,
            "graceful_shutdown_timeout_s": 50.0,
            "ray_actor_options": {"num_cpus": 2, "num_gpus": 1, "memory": 8 * 2**30},
        }
    ]


def test_a_type_of_gpus() -> None:
    """Ray's own option."""
    app = model_app("demo", "m", model(resources={"gpus": 1, "accelerator": "L40S"}), CODE)
    assert app["deployments"][0]["ray_actor_options"] == {"num_cpus": 1, "num_gpus": 1, "accelerator_type": "L40S"}


def test_a_model_on_several_nodes() -> None:
    """A bundle on each of them; the replica's own actor is in the first."""
    wanted = {"nodes": 2, "gpus": 8, "cpus": 4, "memory": "8GiB", "accelerator": "H100"}
    app = model_app("demo", "m", model(resources=wanted), CODE)
    options = app["deployments"][0]
    assert options["ray_actor_options"] == {"num_cpus": 4, "num_gpus": 8, "memory": 8 * 2**30}
    bundle = {"GPU": 8.0, "CPU": 4.0, "memory": 8.0 * 2**30, "accelerator_type:H100": 0.001}
    assert options["placement_group_bundles"] == [bundle, bundle]
    assert options["placement_group_strategy"] == "STRICT_SPREAD"
    assert app["args"].items() >= {"nodes": 2, "accelerator": "H100"}.items()


def test_a_model_that_follows_the_load() -> None:
    """Serve's own autoscaling by our policy."""
    app = model_app("demo", "m", model(replicas={"min": 0, "max": 4, "target_ongoing": 2.0}), CODE)
    options = app["deployments"][0]
    assert "num_replicas" not in options
    assert options["autoscaling_config"] == {
        "min_replicas": 0,
        "max_replicas": 4,
        "target_ongoing_requests": 2.0,
        "policy": {"policy_function": "rayllm.serving.autoscaling:follow_engine_load"},
    }


def test_the_gateways_application(opened: Open) -> None:
    """On the head node, without a route of its own, its models where a change restarts nothing."""
    app = gateway_app(opened().checked, 8001, CODE)
    assert (app["name"], app["route_prefix"]) == ("demo--rayllm", None)
    assert list(app["deployments"][0]["user_config"]["models"]) == ["large", "small"]
    assert app["deployments"][0]["ray_actor_options"] == {"num_cpus": 0, "resources": {"node:__internal_head__": 0.001}}
    assert "large" not in str(app["args"])


def test_the_gateway_keeps_the_code_of_all_models(opened: Open) -> None:
    """Its own too, each once: Ray would delete what no actor names at the moment."""
    other = Bundle("rayllm-2.zip", b"")
    app = gateway_app(opened().checked, 8001, CODE, others=[other, CODE, other])
    assert app["deployments"][0]["user_config"]["code"] == ["gcs://rayllm-1.zip", "gcs://rayllm-2.zip"]
    assert app["runtime_env"] == {"py_modules": ["gcs://rayllm-1.zip"]}


def test_arguments_are_read_back() -> None:
    """Also those of a version that knows more or fewer."""
    spec = ModelSpec(deployment="demo", model="m", engine="toy", source="file:/m", options={"size": 2}, attempt=1)
    assert ModelSpec.from_args(spec.to_args()) == spec
    assert ModelSpec.from_args({**spec.to_args(), "new": 1}) == spec
    gateway = GatewaySpec(deployment="demo", host="127.0.0.1", port=1, serve_port=2)
    assert GatewaySpec.from_args(gateway.to_args()) == gateway
    old = gateway.to_args()
    del old["attempt"]
    assert GatewaySpec.from_args({**old, "new": 1}) == gateway


def test_names() -> None:
    """No deployment's applications look like another's, for names have no `--`."""
    assert app_name("a", "m") == "a--m"
    assert route_prefix("a", "m") == "/a/models/m"
    assert not app_name("a-b", "m").startswith(app_name("a", ""))
    assert not app_name("ab", "m").startswith(app_name("a", ""))


def test_what_is_deployed() -> None:
    """By model; a model's name may hold `--`, other deployments' applications are none of ours."""
    ours = [{"name": "a--m"}, {"name": "a--x--y"}, {"name": "a--rayllm"}]
    theirs = [{"name": "a-b--m"}, {"name": "ab--m"}, {"name": "a"}]
    assert deployed_apps(details(*ours, *theirs), "a") == {
        "m": {"name": "a--m"},
        "x--y": {"name": "a--x--y"},
        GATEWAY_APP: {"name": "a--rayllm"},
    }


def test_what_is_being_removed_is_not_deployed() -> None:
    """Nor what Serve names no config of."""
    assert deployed_apps(details({"name": "a--m"}, status="DELETING"), "a") == {}
    assert deployed_apps({"applications": {"a--m": {"status": "RUNNING", "deployed_app_config": None}}}, "a") == {}


def test_others_keep_what_they_deployed() -> None:
    """A PUT deletes what it lacks, so it holds theirs; ours is replaced."""
    theirs = {"name": "a-b--m", "import_path": "theirs"}
    report = details({"name": "a--old"}, theirs)
    assert merge(report, "a", [{"name": "a--new"}], 8001)["applications"] == [theirs, {"name": "a--new"}]
    assert merge(report, "a", [], 8001)["applications"] == [theirs]


def test_what_others_are_removing_stays_removed() -> None:
    """Their applications finish their requests for minutes: a merge must not bring them back."""
    assert merge(details({"name": "b--m"}, status="DELETING"), "a", [], 8001)["applications"] == []


def test_what_somebody_runs_from_python_is_left_alone() -> None:
    """Serve keeps an application without a config on its own."""
    report = {"applications": {"theirs": {"status": "RUNNING", "deployed_app_config": None}}}
    assert merge(report, "a", [], 8001)["applications"] == []


def test_serves_own_options() -> None:
    """Ours where it does not run yet; else as they are, for all."""
    assert merge(details(), "a", [], 8001) == {
        "proxy_location": "HeadOnly",
        "http_options": {"host": "127.0.0.1", "port": 8001},
        "applications": [],
    }
    http = {"host": "0.0.0.0", "port": 8000}  # noqa: S104  somebody else's
    runs = details(proxy_location="EveryNode", http_options=http, target_capacity=50.0)
    assert merge(runs, "a", [], 8001) == {
        "proxy_location": "EveryNode",
        "http_options": http,
        "target_capacity": 50.0,
        "applications": [],
    }
    plain = details(proxy_location=None, http_options=http, target_capacity=None)
    assert merge(plain, "a", [], 8001) == {"http_options": http, "applications": []}
