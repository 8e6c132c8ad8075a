"""Building an engine's environment ahead of its first start, with the code that the replica uses."""

from __future__ import annotations

import shutil
from collections.abc import Collection

from rayllm.engines import AnyEngine, Device
from rayllm.errors import InputError, RayllmError
from rayllm.machine.environments import check, environments, remove
from rayllm.names import did_you_mean
from rayllm.plugins import Plugins
from rayllm.serving.prepare.environments import build_environment, environment_of, folder_of
from rayllm.sources import FetchProgress
from rayllm.versions import is_made_for


def engine_of(plugins: Plugins, name: str, kind: str) -> tuple[AnyEngine, Device]:
    """The engine of that name, and the device: of `kind`, or what is on this machine.

    Raises:
        InputError: there is no such engine.
    """
    if name not in plugins.engines:
        hint = did_you_mean(name, plugins.engines)
        raise InputError(f"no engine {name!r}{hint}", cure=f"installed: {', '.join(sorted(plugins.engines)) or 'none'}")
    return plugins.engines[name], Device(kind=kind or ("cuda" if shutil.which("nvidia-smi") else "cpu"))


def options_of(engine: AnyEngine, words: Collection[str]) -> dict[str, str]:
    """The options that `NAME=VALUE` says, each of which makes another environment.

    Raises:
        InputError: one does not.
    """
    known = [f"{name}={value}" for name, by in engine.extras.items() for value in by]
    if wrong := [word for word in words if word not in known]:
        raise InputError(
            f"engine {engine.name!r} needs no packages of their own for {', '.join(wrong)}",
            cure=f"those that it does for: {', '.join(known) or 'none'}",
        )
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def build(
    plugins: Plugins,
    name: str,
    kind: str,
    report: FetchProgress,
    version: str | None = None,
    *,
    options: Collection[str] = (),
) -> str:
    """Build the environment of an engine for a kind of device; the path of its interpreter.

    Args:
        plugins: what is installed.
        name: the engine's name.
        kind: `cpu` or `cuda`; empty for what is on this machine.
        report: told what is going on.
        version: of the engine, as after `version:` in a file; None for the one that its plugin is made for.
        options: of a model, as `NAME=VALUE`, that need packages of their own.

    Raises:
        InputError: there is no such engine, version or option, or it does not run on that device.
        RayllmError: it can't be built, or a damaged one is in use.
    """
    engine, device = engine_of(plugins, name, kind)
    wanted = environment_of(engine, device, version, options_of(engine, options))
    if not wanted.requires:
        raise InputError(f"engine {name!r} needs no environment of its own: it runs in the node's Python")
    target = folder_of(name, wanted, device).name
    for found in environments(plugins):
        if found.name == target and found.state == "ready":
            verdict = check(found, plugins)
            if verdict.state != "whole" and not remove(found):
                raise RayllmError(f"{target} is damaged, and in use", cause=verdict.cause, cure="stop what runs in it")
    return build_environment(name, wanted, device, report, None if is_made_for(engine, device, version) else version)
