"""What a model's block asks of its engine, against what the engine declares for the device: never a silent fallback."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rayllm.config.document import Document, KeyPath
from rayllm.engines import AnyEngine
from rayllm.plugins import Plugins


@dataclass(frozen=True, slots=True)
class Ask:
    """One thing that a model's block asks for."""

    word: str
    """Of `CAPABILITIES`."""
    key: str
    """The key of the block that asks for it."""
    otherwise: str
    """What helps where the engine can't do it, beside another engine."""


def check_capabilities(
    document: Document, plugins: Plugins, engine: AnyEngine, path: KeyPath, model: Mapping[str, Any]
) -> None:
    """Note what `model`, the block at `path`, asks for and `engine` can't do on the device that it is to run on."""
    kind = kind_of(model)
    if kind not in engine.devices:
        return  # which is said elsewhere
    for asked in _asks(model):
        if asked.word in engine.can(kind):
            continue
        able = sorted(name for name, other in plugins.engines.items() if asked.word in other.can(kind))
        elsewhere = [f"use {other}, where it can" for other in engine.devices if asked.word in engine.can(other)]
        cures = [*(["name one of these engines"] if able else []), *elsewhere, asked.otherwise]
        document.problem(
            (*path, asked.key),
            f'engine "{engine.name}" can\'t do "{asked.word}" on {kind}',
            choices=f"installed engines that can: {', '.join(able) or 'none'}",
            cure=", or ".join(cures),
        )


def kind_of(model: Mapping[str, Any]) -> str:
    """The kind of device that a model's block asks for."""
    resources = model.get("resources")
    return "cuda" if isinstance(resources, dict) and resources.get("gpus") else "cpu"


def _asks(model: Mapping[str, Any]) -> Iterator[Ask]:
    source = model.get("source")
    if isinstance(source, str) and source.lower().endswith(".gguf"):
        yield Ask("gguf", "source", "name a folder in Hugging Face layout")
