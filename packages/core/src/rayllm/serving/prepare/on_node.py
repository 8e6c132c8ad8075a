"""Prepares this node for models: their environments, then their weights. Prints a line of JSON for whatever happens.

    python -m rayllm.serving.prepare.on_node '{"models": [ModelSpec, …], "weights": true}'

With `"elsewhere": true` the models are to run on other machines that share this one's disk: nothing is tried that needs
a GPU of theirs.

A line has the `model`, its `step` (`environment` or `weights`) and one of: `detail` (what goes on), `done` (how it is
now), `error` (a `RayllmError` in parts). A model that fails holds up no other.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import dataclass
from typing import Any

from rayllm.engines import Device
from rayllm.errors import RayllmError
from rayllm.faults import from_system
from rayllm.paths import home
from rayllm.plugins import Plugins
from rayllm.serving.prepare.devices import detect
from rayllm.serving.prepare.environments import environment_of, facts_of, finished, folder_of
from rayllm.serving.prepare.model import engine_of, prepare_environment, prepare_image, prepare_weights
from rayllm.serving.prepare.room import in_words, nearest_existing
from rayllm.serving.spec import ModelSpec

COUNT_S = 1.0
"""Seconds between two reports that only count (`12 of 93 MB`): all that is told is kept until the job ends."""


def main(asked: str) -> int:
    """Prepare for every model; 1 if one could not be."""
    told = json.loads(asked)
    plugins = Plugins.discover()
    here = not told.get("elsewhere", False)
    preparations = [Preparation(ModelSpec.from_args(args), plugins, here) for args in told["models"]]
    return max([one.run(weights=told["weights"]) for one in preparations], default=0)


@dataclass
class Preparation:
    """What one model needs on this node."""

    spec: ModelSpec
    plugins: Plugins
    here: bool = True
    step: str = "environment"
    said: float = 0.0

    def run(self, *, weights: bool) -> int:
        """Do it; 1 where it failed."""
        try:
            python, device = self._environment()
            if weights:
                self._weights(python, device)
        except RayllmError as error:
            self._fail(error)
        except OSError as error:
            self._fail(from_system(error))
        else:
            return 0
        return 1

    def _environment(self) -> tuple[str, Device]:
        spec = self.spec
        engine = engine_of(spec, self.plugins)
        device = detect(spec.gpus, here=self.here)
        if spec.image:
            prepare_image(spec.image, self._report)
            self._tell(done=spec.image, version="", free=_free())
            return sys.executable, device
        wanted = environment_of(engine, device, spec.version, spec.options)
        if spec.environment == "auto" and wanted.disk and not finished(folder_of(engine.name, wanted, device)):
            self._tell(detail=f"needs {in_words(wanted.disk)} or more, {_free()} free")
        python = prepare_environment(spec, engine, device, self._report)
        facts = facts_of(engine, python, device)
        self._tell(done=facts["environment"], version=facts["version"], free=_free())
        return python, device

    def _weights(self, python: str, device: Device) -> None:
        self.step = "weights"
        folder = prepare_weights(self.spec, self.plugins, python, device, self._report)
        size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
        self._tell(done=str(folder), size=in_words(size), free=_free())

    def _report(self, detail: str) -> None:
        if not detail[:1].isdigit() or time.monotonic() - self.said > COUNT_S:
            self.said = time.monotonic()
            self._tell(detail=detail)

    def _fail(self, error: RayllmError) -> None:
        parts = {name: getattr(error, name) or "" for name in ("message", "cause", "cure", "topic")}
        self._tell(error=parts)

    def _tell(self, **facts: Any) -> None:
        print(json.dumps({"model": self.spec.model, "step": self.step, **facts}), flush=True)  # noqa: T201 - the result


def _free() -> str:
    """Room on the disk of RayLLM's folder, in words."""
    return in_words(shutil.disk_usage(nearest_existing(home())).free)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
