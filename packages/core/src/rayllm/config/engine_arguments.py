"""The engine's own flags in a model's options, each mistake at its key."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from rayllm.arguments.check import complaints
from rayllm.arguments.listing import ArgumentList, read_list
from rayllm.config.asked import kind_of
from rayllm.config.document import Document, KeyPath
from rayllm.engines import AnyEngine, Device
from rayllm.errors import RayllmError
from rayllm.sources import FetchProgress

THIS_MACHINE = "this-machine"
"""Capability of a backend whose nodes are the machine that `rayllm` runs on."""


def check_engine_arguments(
    document: Document,
    engine: AnyEngine,
    path: KeyPath,
    model: Mapping[str, Any],
    *,
    capabilities: Iterable[str],
    report: FetchProgress,
) -> None:
    """Check them against the engine that will run: the pinned one, or where it is on this machine the one there.

    Args:
        document: takes every mistake as a problem.
        engine: what the model names.
        path: where the model is in the document.
        model: its block, as the file has it.
        capabilities: the backend's.
        report: told when an environment on this machine has to be asked, which may take a minute.
    """
    arguments, options = engine.arguments, model.get("options")
    values = options.get(arguments.option) if arguments and isinstance(options, dict) else None
    if not arguments or not isinstance(values, dict):
        return
    device = Device(kind=kind_of(model))
    if device.kind not in arguments.pinned:
        return  # the engine does not run on it, which is said elsewhere
    environment, version = model.get("environment", "auto"), model.get("version")
    if model.get("image"):
        known: ArgumentList | None = None  # whatever version is in it, it will complain itself
    elif environment == "auto" and _is_made_for(engine, device, version):
        known = read_list(arguments.pinned[device.kind])
    else:
        here = THIS_MACHINE in capabilities and isinstance(environment, str)
        python = _python(engine, environment, version, device, model["options"]) if here else None
        known = _at(engine, python, device, report) if python else None
    for one in complaints(arguments, known, values):
        place = (*path, "options", arguments.option, *one.path)
        found = f", found {document.shown(place, _value(values, one.path))}" if one.shows_value else ""
        message = document.redacted(one.message) + found + document.redacted(one.hint)
        document.problem(place, message, choices=one.choices, key=not one.shows_value)


def _is_made_for(engine: AnyEngine, device: Device, version: Any) -> bool:
    from rayllm.versions import is_made_for

    try:
        return is_made_for(engine, device, version)
    except (ValueError, TypeError):
        return True  # it is no version, which is said elsewhere


def _python(
    engine: AnyEngine, environment: str, version: str | None, device: Device, options: Mapping[str, Any]
) -> str | None:
    """The interpreter on this machine; None for one that is still to be built."""
    from rayllm.serving.prepare.environments import finished, folder_of
    from rayllm.serving.prepare.interpreters import named

    if environment == "current":
        return sys.executable
    if environment != "auto":
        return str(named(environment))
    wanted = engine.environment_for(device, version, options)
    return finished(folder_of(engine.name, wanted, device))


def _at(engine: AnyEngine, python: str, device: Device, report: FetchProgress) -> ArgumentList | None:
    """What the environment on this machine takes; None where it can't be asked: the engine will complain itself."""
    from rayllm.serving.prepare.arguments import arguments_at

    try:
        return arguments_at(engine, python, device, report)
    except RayllmError as error:
        report(f"the arguments of {engine.name} can't be checked before it starts: {error.message}: {error.cause}")
        return None


def _value(values: Any, path: KeyPath) -> Any:
    for part in path:
        values = values[part]
    return values
