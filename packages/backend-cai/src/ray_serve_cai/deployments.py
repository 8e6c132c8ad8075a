"""A deployment without a file: what the old calls describe, as RayLLM's Python API takes it."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rayllm import InputError, RayLLM
from rayllm.config import ConfigErrors
from rayllm.plugins import Plugins
from rayllm_backend_cai.migrate.models import DEFAULT_ENGINE
from rayllm_backend_cai.migrate.writing import written

logger = logging.getLogger("ray_serve_cai")
KEY = "RAY_SERVE_CAI_KEY"
"""The variable that stands for the workspace's key; it is in no environment and no file."""
_KEYS = "RAYLLM_API_KEYS"
_SOURCE = "hf://HuggingFaceTB/SmolLM2-135M-Instruct"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where models run."""

    name: str
    """The deployment's."""
    mode: str
    """`local`, or `connected` to a cluster that is there, as the old tool called it."""
    backend: str
    options: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Values of `${env:NAME}` in the options."""
    host: str = ""
    """Where the gateway has to listen to be reached from here; empty for loopback, or where the platform says it."""
    gpus_per_node: int | None = None
    renew: Callable[[], Place | None] | None = field(default=None, repr=False)
    """Reads anew what may have changed since, by a `scale` for one."""

    def now(self) -> Place:
        """As it is now: a deployment of what was would set it back."""
        return (self.renew() if self.renew else None) or self

    def deployment(
        self,
        models: Mapping[str, Any] | None = None,
        *,
        port: int | None = None,
        secrets: Mapping[str, str] = {},
    ) -> RayLLM:
        """The models at this place.

        Args:
            models: as the file's `models:`; without any, a model that is never deployed stands where a file needs one.
            port: of the endpoint, where the platform gives none.
            secrets: values by name, which the models need on their nodes.

        Raises:
            InputError: something is wrong with it; all of it. Or no engine is installed.
        """
        found = plugins()
        data: dict[str, Any] = {
            "name": self.name,
            "cluster": {"backend": self.backend, "options": dict(self.options)},
            "models": models or {"none": {"engine": _any_of(found), "source": _SOURCE}},
            **({"secrets": {name: {"env": name} for name in secrets}} if secrets else {}),
        }
        if self.backend != "cai":
            data["gateway"] = {"port": port or 8000}
        elif self.options.get("bypass_authentication"):
            # Such an endpoint always asks for RayLLM's keys, also where none is here.
            data["gateway"] = {"keys": {"env": _KEYS} if os.environ.get(_KEYS) else "required"}
        if self.host:
            data["gateway"] |= {"host": self.host, "keys": {"env": _KEYS}}
        return _opened(written(data, [], {}), found, {**os.environ, **self.secrets, **secrets})


def plugins() -> Plugins:
    """What is installed."""
    return Plugins.discover()


def report(step: str, detail: str, *, done: bool = False) -> None:
    """A `rayllm.Progress` that logs, as the old tool did."""
    logger.info("%s%s: %s", "done, " if done else "", step, detail)


def _any_of(found: Plugins) -> str:
    """An engine that is installed, vLLM first.

    Raises:
        InputError: there is none.
    """
    if not found.engines:
        raise InputError("no engine is installed", cure="pip install rayllm-engine-vllm")
    return DEFAULT_ENGINE if DEFAULT_ENGINE in found.engines else next(iter(found.engines))


def _opened(text: str, found: Plugins, environ: Mapping[str, str]) -> RayLLM:
    with tempfile.TemporaryDirectory(prefix="ray-serve-cai-") as folder:
        path = Path(folder) / "rayllm.yaml"
        path.write_text(text, encoding="utf-8")
        try:
            return RayLLM.from_file(path, environ=environ, plugins=found)
        except ConfigErrors as error:  # its places are in a file that nobody has seen
            told = [f"{one.name}: {one.message} {one.choices}".strip() for one in error.problems]
            cures = dict.fromkeys(one.cure for one in error.problems if one.cure)
            raise InputError(
                "these settings are refused", cause="\n".join(told), cure="\n".join(cures) or None, topic="config"
            ) from None
