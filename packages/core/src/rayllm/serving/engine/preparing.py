"""What a node needs before a rank of an engine can start on it: the environment, the weights. Idempotent."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rayllm.engines import AnyEngine, Command, Device, Launch, Options
from rayllm.plugins import Plugins
from rayllm.serving import where
from rayllm.serving.containers.command import PYTHON
from rayllm.serving.containers.container import Container, contain, remove_orphans
from rayllm.serving.containers.runtime import Runtime
from rayllm.serving.directory.state import LaterReport
from rayllm.serving.prepare.before_start import require_device, require_fit
from rayllm.serving.prepare.devices import detect
from rayllm.serving.prepare.environments import facts_of
from rayllm.serving.prepare.model import engine_of, prepare_environment, prepare_image, prepare_weights
from rayllm.serving.spec import ModelSpec, app_name


class Teller(Protocol):
    """Hears how far it is; `detail` from any thread."""

    def detail(self, detail: str) -> None:
        """How far the phase is."""

    def tell(self, facts: LaterReport) -> None:
        """What the environment turned out to be."""

    async def enter(self, phase: str) -> None:
        """A phase begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A node on which the engine can start."""

    spec: ModelSpec
    plugins: Plugins
    engine: AnyEngine
    options: Options
    """The model's, as the engine's own type."""
    device: Device
    python: str
    """The engine's interpreter: a path, or what it is called in the image."""
    folder: Path
    runtime: Runtime | None = None
    """What runs the model's image, if it has one."""

    def commands(self, **places: Any) -> list[Command]:
        """The engine's commands; `places` are the fields of `Launch` that say where its processes are."""
        launch: Launch[Any] = Launch(
            python=self.python,
            model_path=str(self.folder),
            model_name=self.spec.model,
            options=self.options,
            device=self.device,
            gpus=self.spec.gpus,
            cpus=max(1, int(self.spec.cpus)),
            memory=self.spec.memory,
            nodes=self.spec.nodes,
            **places,
        )
        return list(self.engine.commands(launch))

    def container(self, command: Command, marker: str, gpu_ids: Sequence[str]) -> Container | None:
        """What runs one of the `commands` in the model's image; None for a model without. `marker`: whose it is."""
        if self.runtime is None or self.spec.image is None:
            return None
        return contain(
            self.runtime,
            self.spec.image,
            command,
            marker=marker,
            folder=self.folder,
            gpu_ids=gpu_ids,
            memory=self.spec.memory,
        )


async def prepare(spec: ModelSpec, teller: Teller) -> Prepared:
    """Make this node ready for the engine.

    Raises:
        RayllmError: it can't be, with cause and cure.
    """
    plugins = Plugins.discover()
    engine, device = engine_of(spec, plugins), detect(spec.gpus)
    await teller.enter("environment")
    gpus = await asyncio.to_thread(require_device, device, where.gpu_ids())
    runtime = None
    if spec.image:
        python, runtime = PYTHON, await asyncio.to_thread(prepare_image, spec.image, teller.detail)
        teller.tell({"version": "", "environment": spec.image, "device": device.kind})
        await asyncio.to_thread(remove_orphans, runtime, app_name(spec.deployment, spec.model))
    else:
        python = await asyncio.to_thread(prepare_environment, spec, engine, device, teller.detail)
        teller.tell(await asyncio.to_thread(facts_of, engine, python, device))
        await asyncio.to_thread(
            require_fit, engine, device, python=python, version=spec.version, gpus=gpus, report=teller.detail
        )
    await teller.enter("weights")
    here = sys.executable if spec.image else python
    folder = await asyncio.to_thread(prepare_weights, spec, plugins, here, device, teller.detail)
    options = engine.options.model_validate_json(json.dumps(spec.options))
    return Prepared(
        spec=spec,
        plugins=plugins,
        engine=engine,
        options=options,
        device=device,
        python=python,
        folder=folder,
        runtime=runtime,
    )
