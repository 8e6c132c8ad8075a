"""What a model's block asks of its engine, against what the engine declares for the device: never a silent fallback."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rayllm.config.asked import kind_of, nodes_of
from rayllm.config.document import Document, KeyPath
from rayllm.config.plugin_calls import noting
from rayllm.engines import AnyEngine, Options
from rayllm.plugins import Plugins
from rayllm.shape import Shape


@dataclass(frozen=True, slots=True)
class Ask:
    """One thing that a model's block asks for."""

    word: str
    """Of `CAPABILITIES`."""
    path: KeyPath
    """What asks for it, below the block."""
    otherwise: str
    """What helps where the engine can't do it, beside another engine."""


def check_capabilities(
    document: Document, plugins: Plugins, engine: AnyEngine, path: KeyPath, model: Mapping[str, Any]
) -> None:
    """Note what `model`, the block at `path`, asks for and `engine` can't do on the device that it is to run on."""
    kind = kind_of(model)
    for asked in _asks(model) if kind in engine.devices else ():  # that it does not run there is said elsewhere
        if asked.word not in engine.can(kind):
            _refuse(document, plugins, engine, kind, Ask(asked.word, (*path, *asked.path), asked.otherwise))


def check_shape(document: Document, plugins: Plugins, options: Options, name: str, model: Mapping[str, Any]) -> None:
    """Note which ways to split a replica a model's block asks for and its engine does not know; `options` are valid."""
    engine, kind, path = plugins.engines[model["engine"]], kind_of(model), ("models", name)
    if engine.shape is None or kind not in engine.devices:
        return
    resources = model.get("resources") or {}
    with noting(document, (*path, "options"), plugins, ("engine", engine.name), "can't tell how it splits a replica"):
        shape = engine.shape(options, resources.get("gpus", 0) * resources.get("nodes", 1))
        for word in _splits(shape):
            if word not in engine.can(kind):
                _refuse(document, plugins, engine, kind, Ask(word, (*path, "options"), f"don't ask for {shape}"))


def _asks(model: Mapping[str, Any]) -> Iterator[Ask]:
    source = model.get("source")
    if isinstance(source, str) and source.lower().endswith(".gguf"):
        yield Ask("gguf", ("source",), "name a folder in Hugging Face layout")
    if model.get("adapters"):
        yield Ask("lora", ("adapters",), "merge the adapters into the weights")
    if nodes_of(model) > 1:
        yield Ask("multi-node", ("resources", "nodes"), "set nodes to 1")


def _splits(shape: Shape) -> Iterator[str]:
    """The capabilities that a shape takes."""
    asked = {"tensor": shape.tensor, "pipeline": shape.pipeline, "data": shape.data, "expert": 1 + shape.expert}
    yield from (f"{way}-parallel" for way, size in asked.items() if size > 1)


def _refuse(document: Document, plugins: Plugins, engine: AnyEngine, kind: str, asked: Ask) -> None:
    able = sorted(name for name, other in plugins.engines.items() if asked.word in other.can(kind))
    elsewhere = [f"use {other}, where it can" for other in engine.devices if asked.word in engine.can(other)]
    cures = [*(["name one of these engines"] if able else []), *elsewhere, asked.otherwise]
    document.problem(
        asked.path,
        f'engine "{engine.name}" can\'t do "{asked.word}" on {kind}',
        choices=f"installed engines that can: {', '.join(able) or 'none'}",
        cure=", or ".join(cures),
    )
