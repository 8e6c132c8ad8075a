"""What a model needs on this node: its engine's environment, then its weights. Idempotent; both block."""

from __future__ import annotations

from pathlib import Path

from rayllm.engines import AnyEngine, Device
from rayllm.errors import DeploymentError
from rayllm.plugins import Plugins
from rayllm.serving.containers.images import ensure_image
from rayllm.serving.containers.runtime import Runtime, find_runtime
from rayllm.serving.prepare import wheelhouse
from rayllm.serving.prepare.arguments import check_arguments
from rayllm.serving.prepare.environments import ensure_environment
from rayllm.serving.spec import ModelSpec
from rayllm.serving.weights.ensure import ensure_weights
from rayllm.serving.weights.shape import require_model
from rayllm.sources import FetchProgress


def engine_of(spec: ModelSpec, plugins: Plugins) -> AnyEngine:
    """The engine that a model names.

    Raises:
        DeploymentError: its plugin is not on this node, or is broken.
    """
    if engine := plugins.engines.get(spec.engine):
        return engine
    broken = "; ".join(f"{info.name}: {info.cause}" for info in plugins.infos if info.state == "broken")
    raise DeploymentError(f"no engine {spec.engine!r} on this node", cause=broken or None, topic="plugin")


def prepare_environment(spec: ModelSpec, engine: AnyEngine, device: Device, report: FetchProgress) -> str:
    """The interpreter that the engine runs with, which knows every argument that the model gives it.

    Raises:
        RayllmError: there is none, with cause and cure.
    """
    wheelhouse.use(spec.packages)
    python = ensure_environment(engine, spec.environment, device, report, version=spec.version, options=spec.options)
    check_arguments(
        engine,
        spec.options,
        environment=spec.environment,
        version=spec.version,
        python=python,
        device=device,
        report=report,
    )
    return python


def prepare_image(image: str, report: FetchProgress) -> Runtime:
    """What runs the image, which it holds.

    Raises:
        RayllmError: nothing can, or the image can't be had; with cause and cure.
    """
    runtime = find_runtime()
    ensure_image(runtime, image, report)
    return runtime


def prepare_weights(spec: ModelSpec, plugins: Plugins, python: str, device: Device, report: FetchProgress) -> Path:
    """The folder with the model's files, which are whole and can be served on this device.

    Raises:
        RayllmError: they can't be had, with cause and cure.
    """
    folder = ensure_weights(spec.source, plugins, python, report)
    require_model(folder, spec.options, device)
    return folder
