"""What `adapters:` of a model may say, and the option that follows from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rayllm.config.asked import nodes_of
from rayllm.config.document import Document, KeyPath
from rayllm.config.rules import RESERVED, check_source
from rayllm.engines import Adapters, AnyEngine, Options
from rayllm.plugins import Plugins


def switch_on(document: Document, plugins: Plugins) -> None:
    """Let the options of every model with adapters say that it has some, where the file leaves that out."""
    for name, model in _models(document):
        engine = _engine(plugins, model)
        options = model.setdefault("options", {}) if engine and engine.adapters and model.get("adapters") else None
        if not engine or not engine.adapters or not isinstance(options, dict):
            continue
        if options.setdefault(engine.adapters.switch, True) is False:
            path: KeyPath = ("models", name, "options", engine.adapters.switch)
            document.problem(path, "false, and the model has adapters", cure="leave it out, or take the adapters out")


def check_adapters(document: Document, plugins: Plugins, options: Mapping[str, Options]) -> None:
    """Every adapter has a name of its own and a source, and an engine that can hold it.

    Args:
        document: the file; takes the problems.
        plugins: what is installed.
        options: by model, its options where nothing is wrong with them.
    """
    taken = _names(document)
    for name, model in _models(document):
        adapters = model.get("adapters")
        if not isinstance(adapters, dict):
            continue
        path: KeyPath = ("models", name, "adapters")
        for adapter, source in adapters.items():
            _check_name(document, (*path, adapter), taken)
            check_source(document, plugins, (*path, adapter), source)
        engine = _engine(plugins, model)  # that it serves none is told as of every capability
        if adapters and engine and engine.adapters:
            _check_nodes(document, path, model)
            if name in options:
                _check_room(document, path, len(adapters), engine.adapters, options[name])


def _check_nodes(document: Document, path: KeyPath, model: Mapping[str, Any]) -> None:
    """An adapter is fetched on the replica's own node, and every rank would read it."""
    if (nodes := nodes_of(model)) > 1:
        cure = "set resources.nodes to 1, or merge the adapter into the weights"
        document.problem(path, f"a replica on {nodes} nodes takes no adapters", cure=cure)


def _check_room(document: Document, path: KeyPath, count: int, engine: Adapters, options: Options) -> None:
    if count > (room := getattr(options, engine.room)):
        cure = f"options.{engine.room}: {count}, which takes more memory, or fewer adapters"
        document.problem(path, f"{count} adapters, and a replica holds {room} at most", cure=cure)


def _check_name(document: Document, path: KeyPath, taken: Mapping[str, list[str]]) -> None:
    name = str(path[-1])
    cure = "choose another name for the adapter"
    if name in RESERVED:
        document.problem(path, f'"{name}" names the gateway', cure=cure, key=True)
    others = list(taken[name])
    others.remove(f"an adapter of {path[1]}")
    if others:
        document.problem(path, f'"{name}" is {others[0]} already', cure=cure, key=True)


def _names(document: Document) -> dict[str, list[str]]:
    """Every name that clients may send, and what it stands for."""
    found: dict[str, list[str]] = {}
    for name, model in _models(document):
        found.setdefault(name, []).append("a model")
        adapters = model.get("adapters")
        for adapter in adapters if isinstance(adapters, dict) else ():
            found.setdefault(str(adapter), []).append(f"an adapter of {name}")
    gateway = document.data.get("gateway")
    aliases = gateway.get("aliases") if isinstance(gateway, dict) else None
    for alias in aliases if isinstance(aliases, dict) else ():
        found.setdefault(str(alias), []).append("an alias")
    return found


def _models(document: Document) -> Iterator[tuple[str, dict[str, Any]]]:
    models = document.data.get("models")
    for name, model in models.items() if isinstance(models, dict) else ():
        if isinstance(model, dict):
            yield str(name), model


def _engine(plugins: Plugins, model: Mapping[str, Any]) -> AnyEngine | None:
    name = model.get("engine")
    return plugins.engines.get(name) if isinstance(name, str) else None
