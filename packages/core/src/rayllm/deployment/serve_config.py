"""The Serve config of a deployment: one application per model and one for the gateway. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rayllm.cluster.bundle import Bundle
from rayllm.config.schema import DeploymentConfig, ModelConfig, PackagesConfig, ReplicaRange
from rayllm.deployment.placement import placement
from rayllm.serving.spec import (
    GATEWAY_APP,
    GATEWAY_DEPLOYMENT,
    MODEL_DEPLOYMENT,
    GatewaySettings,
    GatewaySpec,
    ModelSettings,
    ModelSpec,
    RouteSettings,
    app_name,
    route_prefix,
)

if TYPE_CHECKING:
    from rayllm.config import Checked

Json = dict[str, Any]
HEALTH_PERIOD_S = 2.0
"""Serve replaces a replica after three failed checks."""
STOP_S = 20.0
"""Seconds to stop an engine once it has no work, within Serve's own bound."""
MANY = 100_000
"""`max_ongoing_requests`: the engine queues and the gateway limits, Serve does neither (its default is 5)."""


def model_spec(
    deployment: str,
    name: str,
    model: ModelConfig,
    versions: Mapping[str, str],
    attempt: int = 0,
    *,
    packages: PackagesConfig | None = None,
) -> ModelSpec:
    """A model of the file as its replicas get it; `versions` are those of its code."""
    return ModelSpec(
        deployment=deployment,
        model=name,
        engine=model.engine,
        source=model.source,
        environment=model.environment,
        version=model.version,
        image=model.image,
        packages=packages.model_dump() if packages else None,
        options=model.options,
        gpus=model.resources.gpus,
        cpus=model.resources.cpus,
        memory=int(model.resources.memory) if model.resources.memory else None,  # YAML knows no ByteSize
        nodes=model.resources.nodes,
        accelerator=model.resources.accelerator,
        drain_s=model.drain_s,
        attempt=attempt,
        versions=versions,
    )


def scaling(replicas: int | ReplicaRange) -> Json:
    """Serve's options for a number of replicas."""
    if isinstance(replicas, int):
        return {"num_replicas": replicas}
    return {
        "autoscaling_config": {
            "min_replicas": replicas.min,
            "max_replicas": replicas.max,
            "target_ongoing_requests": replicas.target_ongoing,
            "policy": {"policy_function": "rayllm.serving.autoscaling:follow_engine_load"},
        }
    }


def model_app(
    deployment: str,
    name: str,
    model: ModelConfig,
    code: Bundle,
    attempt: int = 0,
    *,
    packages: PackagesConfig | None = None,
    settings: ModelSettings | None = None,
) -> Json:
    """The application of one model; `settings` are those of one that takes adapters."""
    options = {
        "name": MODEL_DEPLOYMENT,
        **scaling(model.replicas),
        "max_ongoing_requests": MANY,
        "health_check_period_s": HEALTH_PERIOD_S,
        "graceful_shutdown_timeout_s": model.drain_s + STOP_S,
        **placement(model.resources),
    }
    if settings is not None:
        options["user_config"] = settings.to_user_config()
    return {
        "name": app_name(deployment, name),
        "route_prefix": route_prefix(deployment, name),
        "import_path": "rayllm.serving.replica:build",
        "runtime_env": {"py_modules": [code.uri]},
        "args": model_spec(deployment, name, model, code.versions, attempt, packages=packages).to_args(),
        "deployments": [options],
    }


def gateway_settings(
    config: DeploymentConfig,
    endpoints: Mapping[str, Sequence[str]],
    code: Sequence[str] = (),
    adapters: Mapping[str, Json] | None = None,
) -> GatewaySettings:
    """What of the file changes at a running gateway.

    Args:
        config: the file.
        endpoints: as in `Checked`.
        code: as in `GatewaySettings`.
        adapters: by model, what its `RouteSettings` say of its adapters.
    """
    return GatewaySettings(
        models={
            name: RouteSettings(**model.routing.model_dump(), engine=model.engine, **(adapters or {}).get(name, {}))
            for name, model in sorted(config.models.items())
        },
        aliases={
            name: {target: 1} if isinstance(target, str) else target
            for name, target in sorted(config.gateway.aliases.items())
        },
        endpoints=endpoints,
        keys_required=config.gateway.keys is not None,
        max_body=int(config.gateway.max_body),
        tls=config.gateway.tls,
        code=code,
    )


def gateway_app(
    checked: Checked,
    serve_port: int,
    code: Bundle,
    attempt: int = 0,
    others: Sequence[Bundle] = (),
    *,
    adapters: Mapping[str, Json] | None = None,
) -> Json:
    """The application of the gateway: no CPU of its own, on the head node.

    Args:
        checked: the file.
        serve_port: of Serve's own proxy.
        code: the gateway's.
        attempt: as in `GatewaySpec`.
        others: the code of its models.
        adapters: as of `gateway_settings`.
    """
    config = checked.config
    spec = GatewaySpec(
        deployment=config.name,
        host=config.gateway.host,
        port=config.gateway.port,
        serve_port=serve_port,
        attempt=attempt,
        versions=code.versions,
    )
    kept = sorted({bundle.uri for bundle in (code, *others)})
    options = {
        "name": GATEWAY_DEPLOYMENT,
        "num_replicas": 1,
        "user_config": gateway_settings(config, checked.endpoints, kept, adapters).to_user_config(),
        "health_check_period_s": HEALTH_PERIOD_S,
        "graceful_shutdown_timeout_s": STOP_S,
        "ray_actor_options": {"num_cpus": 0, "resources": {"node:__internal_head__": 0.001}},
    }
    return {
        "name": app_name(config.name, GATEWAY_APP),
        "route_prefix": None,
        "import_path": "rayllm.serving.gateway:build",
        "runtime_env": {"py_modules": [code.uri]},
        "args": spec.to_args(),
        "deployments": [options],
    }


def deployed_apps(details: Mapping[str, Any], deployment: str) -> dict[str, Json]:
    """The configs of a deployment's applications, by model name (`GATEWAY_APP` for the gateway), as Serve has them."""
    prefix = app_name(deployment, "")
    return {
        name.removeprefix(prefix): app["deployed_app_config"]
        for name, app in details["applications"].items()
        if name.startswith(prefix) and app.get("deployed_app_config") and app["status"] != "DELETING"
    }


def merge(details: Mapping[str, Any], deployment: str, apps: list[Json], serve_port: int) -> Json:
    """Serve's whole config: `apps` for this deployment, and whatever others have deployed as it is.

    A PUT deletes what it lacks. What somebody just removed stays removed. Serve's HTTP options hold from its first
    start; where it runs, they are repeated.
    """
    prefix = app_name(deployment, "")
    others = [
        app["deployed_app_config"]
        for name, app in details["applications"].items()
        if not name.startswith(prefix) and app.get("deployed_app_config") and app["status"] != "DELETING"
    ]
    config: Json = {"applications": [*others, *apps]}
    if http := details.get("http_options"):
        kept = {key: details[key] for key in ("proxy_location", "target_capacity") if details.get(key) is not None}
        return {**kept, "http_options": http, **config}
    return {"proxy_location": "HeadOnly", "http_options": {"host": "127.0.0.1", "port": serve_port}, **config}
